"""Common n-grams of all pairs of texts within groups, as products of matrices.

The sum of min(a, b) over n-grams that two texts have a and b times is the number of equal pairs
(n-gram, occurrence): a 0/1 matrix of texts and such pairs, times its transpose, has it for all
texts of a group.

Dimension letters: T tokens of all texts, C columns (n-gram, occurrence), N texts of a group, K
orders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CELLS = 1 << 22
"""Most cells of a 0/1 matrix, which bounds memory; wider ones are multiplied in parts."""


@dataclass(frozen=True)
class Matches:
    """The n-grams of the texts of a group."""

    lengths_N: Ints
    """The tokens of each text."""
    common_KNN: Floats
    """For each order from 1, the n-grams that two texts have in common, with multiplicity."""

    def totals(self, order: int) -> Ints:
        """The n-grams of each text [N]."""
        return np.maximum(self.lengths_N - order + 1, 0)


def ngram_matches(groups: Sequence[Sequence[Ints]], orders: int) -> list[Matches]:
    """The common n-grams of each group of texts, which are given as token ids of at least 0."""
    texts = [text for group in groups for text in group]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    ends = np.cumsum(sizes)
    group_of_text = np.repeat(np.arange(len(groups)), sizes)
    ids_T = np.concatenate([*texts, np.zeros(0, dtype=np.int64)])
    text_T = np.repeat(np.arange(len(texts)), lengths)
    left_T = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(ids_T))  # to the end of a text
    commons = [np.zeros((orders, size, size)) for size in sizes.tolist()]
    base = int(ids_T.max(initial=0)) + 1
    # Ranks are sorted by group, so the columns of a group are adjacent.
    rank_T = group_of_text[text_T]
    for order in range(1, orders + 1):
        (starts,) = np.nonzero(left_T >= order)
        rank_T[starts] = _ranks(rank_T[starts] * base + ids_T[starts + order - 1])
        columns = _columns(text_T[starts], rank_T[starts])
        _multiply(columns, text_T[starts], (group_of_text, ends), order, commons)
    return [
        Matches(lengths[end - size : end], common)
        for size, end, common in zip(sizes.tolist(), ends.tolist(), commons, strict=True)
    ]


def _ranks(keys: Ints) -> Ints:
    """The place of each key among the different ones in ascending order."""
    return np.unique(keys, return_inverse=True)[1].reshape(-1)


def _columns(text_M: Ints, rank_M: Ints) -> Ints:
    """The column (n-gram, occurrence) of each of M n-grams; -1 where no other text has it."""
    if not len(rank_M):
        return rank_M
    order = np.lexsort((text_M, rank_M))
    ranks, texts = rank_M[order], text_M[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (ranks[1:] != ranks[:-1]) | (texts[1:] != texts[:-1])
    runs = np.flatnonzero(is_first)
    occurrence = np.arange(len(order)) - np.repeat(runs, np.diff([*runs, len(order)]))
    found = _ranks(ranks * (int(occurrence.max()) + 1) + occurrence)
    is_shared = np.bincount(found) > 1
    numbers = np.where(is_shared, np.cumsum(is_shared) - 1, -1)
    columns = np.empty_like(found)
    columns[order] = numbers[found]
    return columns


def _multiply(
    column_M: Ints,
    text_M: Ints,
    groups: tuple[Ints, Ints],
    order: int,
    commons: list[Floats],
) -> None:
    """Add the common n-grams of an order to those of each group, whose texts `groups` number."""
    group_of_text, ends = groups
    is_shared = column_M >= 0
    columns, texts = column_M[is_shared], text_M[is_shared]
    by_column = np.argsort(columns, kind="stable")
    columns, texts = columns[by_column], texts[by_column]
    bounds = np.searchsorted(group_of_text[texts], np.arange(len(commons) + 1))
    totals = np.bincount(text_M, minlength=len(group_of_text))
    for group, common in enumerate(commons):
        size, first, last = len(common[0]), int(bounds[group]), int(bounds[group + 1])
        start = int(ends[group]) - size
        if first < last:
            rows = texts[first:last] - start
            common[order - 1] = _product(rows, columns[first:last] - columns[first], size)
        np.fill_diagonal(common[order - 1], totals[start : start + size])


def _product(rows: Ints, columns: Ints, size: int) -> Floats:
    """M M', where M [size, columns] is 1 at the given places, which are sorted by column."""
    most = max(1, CELLS // size)
    found = np.zeros((size, size))
    for start in range(0, int(columns[-1]) + 1, most):
        first, last = np.searchsorted(columns, (start, start + most))
        width = int(columns[last - 1]) - start + 1 if first < last else 0
        ones_NC = np.zeros((size, width), dtype=np.float32)  # exact: sums are below 2^24
        ones_NC[rows[first:last], columns[first:last] - start] = 1.0
        found += ones_NC @ ones_NC.T
    return found
