"""Scores by the length of the source.

Dimension letters: N lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s2s.metrics.base import Rows, Statistics
from s2s.metrics.resampling import RESAMPLES, percentile_bounds

MOST_BINS = 6

LEAST_LINES = 20
"""The fewest lines of a bin, where there are so many: fewer say little about a corpus score."""


@dataclass(frozen=True, kw_only=True)
class LengthBin:
    """The lines whose sources have a length between two bounds."""

    first: int
    """The shortest source, in tokens."""
    last: int
    """The longest one."""
    count: int
    value: float
    """The score of these lines as a corpus."""
    low: float
    """Bounds of its 95 % confidence interval: percentiles of bootstrap samples of the lines."""
    high: float


@dataclass(frozen=True)
class _Selected:
    """The statistics of some lines."""

    all: Statistics
    rows: Rows
    column: int

    def values(self, rows: Rows) -> tuple[float, ...]:
        """One value of those among the lines that `rows` names."""
        return (self.all.values(self.rows[rows])[self.column],)

    def line_values(self) -> None:
        """Nobody asks for them."""


def score_by_length(
    statistics: Statistics, column: int, lengths: Sequence[int]
) -> tuple[LengthBin, ...]:
    """Value number `column` of the lines of each bin; the bins have about equally many lines.

    Lines of one length are in one bin, so that there may be fewer bins.
    """
    found = []
    lengths_N = np.asarray(lengths)
    for first, last in bounds(lengths):
        rows = np.flatnonzero((lengths_N >= first) & (lengths_N <= last))
        chosen = _Selected(statistics, rows, column)
        (value,) = chosen.values(np.arange(len(rows)))
        ((low, high),) = percentile_bounds(chosen, len(rows), RESAMPLES)
        found.append(
            LengthBin(
                first=first,
                last=last,
                count=len(rows),
                value=float(value),
                low=low,
                high=high,
            )
        )
    return tuple(found)


def bounds(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """The shortest and the longest length of each bin."""
    ordered = sorted(lengths)
    num_bins = max(1, min(MOST_BINS, len(ordered) // LEAST_LINES))
    least = len(ordered) / num_bins
    bins: list[tuple[int, int]] = []
    start = 0
    for place, length in enumerate(ordered, start=1):
        is_whole = place == len(ordered) or ordered[place] != length
        if is_whole and place >= round(least * (len(bins) + 1)):
            bins.append((ordered[start], length))
            start = place
    return bins
