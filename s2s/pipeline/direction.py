"""Finds runs that translate the wrong way: languages swapped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from s2s.data.sources.open import open_split
from s2s.errors import UsageError
from s2s.recipe.data import has_source_text, image_features_of
from s2s.spaces import is_blank

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

PAIRS = 64
"""Validation pairs that are compared: each costs two passes of forced decoding."""

MARGIN = 0.5
"""Nats a token by which the wrong direction must be the more probable one. A run that translates
the other way is apart by several; one that has learned nothing, by none."""


def check_direction(
    runs: Sequence[Run],
    recipe: Recipe,
    *,
    is_reverse: bool,
    place: str,
    device: str = "auto",
    checkpoint: Which = "best",
) -> None:
    """Compare runs with validation pairs: they should find targets more probable, given sources,
    than sources given targets; `is_reverse` runs the other way round.

    Raises UsageError, beginning with `place`, where they translate the wrong way. Does nothing
    without validation pairs of text.
    """
    pairs = _validation_pairs(recipe)
    if not pairs or any(image_features_of(run.recipe.data) for run in runs):
        return
    from s2s.inference.load import load_ensemble
    from s2s.inference.pair_scores import score_lines

    translator = load_ensemble(runs, device=device, checkpoint=checkpoint, shortlists=False)
    swapped = [(target, source) for source, target in pairs]
    means = []
    for given in (swapped, pairs) if is_reverse else (pairs, swapped):
        scores = score_lines(translator, given, ("validation", 0))
        means.append(sum(one.log_prob for one in scores) / max(1, sum(s.length for s in scores)))
    right, wrong = means
    if wrong > right + MARGIN:
        names = " and ".join(run.place for run in runs)
        wanted = "targets into sources" if is_reverse else "sources into targets"
        other = "sources into targets" if is_reverse else "targets into sources"
        raise UsageError(
            f"{place}: expected a run that translates {wanted}, and {names} translates {other} "
            f"(log-probability a token on {len(pairs)} validation pairs: {right:.2f} as wanted, "
            f"{wrong:.2f} the other way); name another run"
        )


def _validation_pairs(recipe: Recipe) -> list[tuple[str, str]]:
    """The first pairs of text of validation; none where sources are not text alone."""
    if not has_source_text(recipe.data) or image_features_of(recipe.data):
        return []
    split = open_split(recipe.data, "validation")
    if split is None:
        return []
    chunks = split.chunks()
    pairs = (pair for one in chunks for pair in zip(one.source, one.target, strict=True))
    return list(islice((one for one in pairs if not any(map(is_blank, one))), PAIRS))
