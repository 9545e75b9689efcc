"""A map of the recipe's types: the keys of every section, and suggestions for unknown keys."""

import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from s2s.recipe.recipe import Recipe
from s2s.recipe.section import TAGS
from s2s.recipe.yaml import Keys


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

    pydantic's location also has the chosen kind of each union, and the tag of a plain value with
    alternatives, such as a number that may be `auto`; these are removed. At a union the spot is
    narrowed to the chosen kind.
    """
    spot, keys = TOP, ()  # type: tuple[Spot, Keys]
    for part in location:
        if spot.is_tagged:
            spot = spot.of_kind(part)
        elif part in TAGS and not spot.sections and spot.item is None:
            continue
        else:
            keys = (*keys, part)
            spot = spot.child(part)
    return keys, spot


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
