"""Settings of a recipe that its data leave without effect, reported before training begins."""

from collections.abc import Iterator

import numpy as np

from s2s.data.store import Corpus
from s2s.recipe.recipe import Recipe
from s2s.search.bucketing import longest_output

REPORTED_SHARE = 0.001
"""Fewer pairs are not reported: every corpus has some that do not belong together."""


def recipe_warnings(recipe: Recipe, train: Corpus, *, has_validation: bool) -> Iterator[str]:
    """A line for every setting that the data leave without effect."""
    if not has_validation:
        yield (
            "no validation pairs: training ignores train.patience and runs to its end, and the "
            "last checkpoint counts as the best"
        )
    cut = num_out_of_reach(recipe, train)
    if cut > REPORTED_SHARE * len(train):
        yield (
            f"{cut:,} of {len(train):,} training targets are longer than an output may be: raise "
            "search.max_ratio or search.max_offset"
        )


def num_out_of_reach(recipe: Recipe, train: Corpus) -> int:
    """Number of pairs whose target, with its end, is longer than the longest output of search."""
    lengths, places = np.unique(train.source_lengths, return_inverse=True)
    most = np.array([longest_output(int(length), recipe.search) for length in lengths])
    return int(np.count_nonzero(train.target_lengths + 1 > most[places]))
