"""A map of the recipe's types: the keys of every section, and suggestions for unknown keys."""

import difflib
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from s2s.recipe.recipe import Recipe
from s2s.recipe.section import AUTO, NUMBER
from s2s.recipe.yaml import Keys, dotted

OTHER_NAMES = {
    "batch_size": ("train.batch_tokens",),
    "beam_size": ("search.width",),
    "bidir": ("model.encoder.bidirectional",),
    "clip": ("train.clip_norm",),
    "copy_attn": ("model.copy",),
    "coverage_attn": ("model.coverage",),
    "dim": ("model.encoder.width", "model.decoder.width"),
    "early_stopping": ("train.patience",),
    "embedding_dim": ("model.embeddings",),
    "eval_every": ("train.validate_every",),
    "grad_clip": ("train.clip_norm",),
    "gradient_clipping": ("train.clip_norm",),
    "hidden_size": ("model.encoder.width", "model.decoder.width"),
    "lambda_coverage": ("train.coverage_loss",),
    "lr": ("train.optimizer.learning_rate",),
    "max_steps": ("train.max_updates",),
    "num_layers": ("model.encoder.layers", "model.decoder.layers"),
    "smoothing": ("train.label_smoothing",),
    "steps": ("train.max_updates",),
    "vocab_size": ("tokenizer.vocabulary",),
    "warmup_steps": ("train.schedule.warmup",),
}
"""Names in other toolkits and papers, for a key that resembles none of ours."""


@dataclass(frozen=True)
class Spot:
    """The types that one place of a recipe allows: sections, or a plain value."""

    sections: tuple[type, ...] = ()
    """The section types; none for a plain value, several where `kind` chooses."""
    default_kind: str | None = None
    """The kind of the default value."""
    item: "Spot | None" = None
    """The spot of each item, if a list of sections is allowed here."""

    @property
    def is_tagged(self) -> bool:
        """Whether `kind` chooses among several types."""
        return len(self.sections) > 1

    def kinds(self) -> tuple[str, ...]:
        """Every kind that is allowed here, in the order of the types."""
        return tuple(kind for section in self.sections for kind in _kinds(section))

    def of_kind(self, kind: object) -> "Spot":
        """The spot narrowed to the types of a kind; to none for an unknown kind."""
        return Spot(tuple(section for section in self.sections if kind in _kinds(section)))

    def child(self, key: object) -> "Spot":
        """The spot of `key` in the first type that has it; a number is an index of a list."""
        if isinstance(key, int):
            return self.item or Spot()
        for section in self.sections:
            if key in _spots(section):
                return _spots(section)[str(key)]
        return Spot()

    def names(self) -> tuple[str, ...]:
        """The keys of all types that are allowed here, each once."""
        return tuple(dict.fromkeys(key for section in self.sections for key in _spots(section)))


TOP = Spot((Recipe,))
"""The recipe as a whole."""


def spot_at(keys: Keys) -> Spot:
    """The spot at `keys`."""
    spot = TOP
    for key in keys:
        spot = spot.child(key)
    return spot


def without_tags(location: Keys) -> tuple[Keys, Spot]:
    """The path of a validation error's location and its spot.

    pydantic's location also has the chosen kind of each union and, at its end, the tag of a number
    that may be `auto`; these are removed. At a union the spot is narrowed to the chosen kind.
    """
    spot, keys = TOP, ()  # type: tuple[Spot, Keys]
    is_alternative = location[-1:] in ((NUMBER,), (AUTO,)) and not spot_at(location[:-1]).names()
    for part in location[:-1] if is_alternative else location:
        if spot.is_tagged:
            spot = spot.of_kind(part)
        else:
            keys = (*keys, part)
            spot = spot.child(part)
    return keys, spot


def close_to(word: str, choices: tuple[str, ...]) -> str:
    """` (did you mean 'adam'?)` for the choice closest to `word`; empty if none is close."""
    found = difflib.get_close_matches(word, choices, n=1)
    return f" (did you mean '{found[0]}'?)" if found else ""


def meant(keys: Keys, kind: object) -> str:
    """A suggestion for the unknown key at the end of `keys`, in a section of `kind`.

    It is empty, or in brackets with a space before, to follow "unknown key".
    """
    section, key = keys[:-1], str(keys[-1])
    spot = spot_at(section)
    owners = [k for k in spot.kinds() if spot.is_tagged and spot.of_kind(k).names().count(key)]
    if owners:
        listed = " or ".join(f"'{owner}'" for owner in owners)
        return f" ('{key}' belongs to kind {listed})"
    chosen = spot.of_kind(kind) if spot.is_tagged else spot
    near = close_to(key, chosen.names())
    if near:
        return near
    found = _elsewhere(key, tuple(map(str, section)))
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _elsewhere(key: str, section: tuple[str, ...]) -> tuple[str, ...]:
    """At most three paths of the recipe that end in `key` or a similar name."""
    paths = all_paths()
    names = tuple(dict.fromkeys(path[-1] for path in paths))
    if key not in names and key in OTHER_NAMES:
        return OTHER_NAMES[key]
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.8)
    matching = [path for path in paths if near and path[-1] == near[0]]
    nearby = [path for path in matching if section and path[0] == section[0]]
    return tuple(dotted(path) for path in (nearby or matching)[:3])


@cache
def all_paths() -> tuple[tuple[str, ...], ...]:
    """Every possible path of a recipe, each once."""
    return tuple(dict.fromkeys(_walk(TOP, ())))


def _walk(spot: Spot, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key in spot.names():
        yield (*above, key)
        yield from _walk(spot.child(key), (*above, key))


@cache
def _kinds(section: type) -> tuple[str, ...]:
    """The kinds of a section type; none without a field `kind`."""
    hint = get_type_hints(section, include_extras=True).get("kind")
    return tuple(get_args(hint)) if get_origin(hint) is Literal else ()


@cache
def _spots(section: type) -> dict[str, Spot]:
    """The keys of a section type with their spots."""
    hints = get_type_hints(section, include_extras=True)
    return {item.name: _spot(hints[item.name], item.default_factory) for item in fields(section)}


def _spot(hint: Any, factory: Any) -> Spot:
    inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(inner) is tuple:
        return Spot(item=_spot(get_args(inner)[0], MISSING))
    sections = tuple(_sections(hint))
    has_default = len(sections) > 1 and factory is not MISSING
    return Spot(sections, factory().kind if has_default else None)


def _sections(hint: Any) -> Iterator[type]:
    """The section types within a type hint, through `Annotated` and unions."""
    if get_origin(hint) is Annotated:
        yield from _sections(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType):
        for option in get_args(hint):
            yield from _sections(option)
    elif is_dataclass(hint) and isinstance(hint, type):
        yield hint
