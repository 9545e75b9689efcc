"""What a recipe asks for in vain, told before training begins."""

from collections.abc import Iterator

import numpy as np

from s2s.data.store import Corpus
from s2s.recipe.recipe import Recipe
from s2s.search.bucketing import longest_output

TOLD_SHARE = 0.001
"""Fewer are not worth a word: every corpus has some pairs that do not belong together."""


def advice(recipe: Recipe, train: Corpus, *, has_validation: bool) -> Iterator[str]:
    """A line for every setting that the data leave without effect, or without a chance."""
    if not has_validation:
        yield (
            "no validation pairs: training goes to its end whatever train.patience says, and the "
            "last checkpoint counts as the best"
        )
    cut = num_out_of_reach(recipe, train)
    if cut > TOLD_SHARE * len(train):
        yield (
            f"{cut:,} of {len(train):,} training targets are longer than an output may be: raise "
            "search.max_ratio or search.max_offset"
        )


def num_out_of_reach(recipe: Recipe, train: Corpus) -> int:
    """Pairs whose target, with its end, is longer than search lets an output to the source be."""
    lengths, places = np.unique(train.source_lengths, return_inverse=True)
    most = np.array([longest_output(int(length), recipe.search) for length in lengths])
    return int(np.count_nonzero(train.target_lengths + 1 > most[places]))
