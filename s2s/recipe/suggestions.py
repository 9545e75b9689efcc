"""Suggestions for unknown keys of a recipe: the key that the user probably meant."""

import difflib
from collections.abc import Iterator
from functools import cache

from s2s.recipe.schema import TOP, Spot, spot_at
from s2s.recipe.yaml import Keys, dotted

OTHER_NAMES = {
    "batch_size": ("train.batch_tokens",),
    "beam_size": ("search.width",),
    "bidir": ("model.encoder.bidirectional",),
    "cell_type": ("model.encoder.cell.kind", "model.decoder.cell.kind"),
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
    "num_heads": ("model.attention.heads",),
    "num_layers": ("model.encoder.layers", "model.decoder.layers"),
    "rnn_type": ("model.encoder.cell.kind", "model.decoder.cell.kind"),
    "smoothing": ("train.label_smoothing",),
    "steps": ("train.max_updates",),
    "vocab_size": ("tokenizer.vocabulary",),
    "warmup_steps": ("train.schedule.warmup",),
}
"""Names in other toolkits and papers, for a key that resembles none of ours."""


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
