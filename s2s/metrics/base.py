"""The interface of metrics: statistics of lines, from which any selection of lines has values.

Dimension letters: N lines, K statistics of a line, F values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

References = Sequence[tuple[str, ...]]
"""The references of every line, one or more each."""

Rows = NDArray[np.intp]
"""Indices of lines; one may occur several times."""


@dataclass(frozen=True)
class Resampling:
    """A bootstrap or a paired test, for signatures."""

    samples: int
    """Number of resamples or trials."""
    seed: str
    """Seed of the random numbers, or `none`."""
    sign: Literal["bs", "ar"] = "bs"
    """Bootstrap or approximate randomization, in sacrebleu's abbreviation."""


class Statistics(Protocol):
    """The numbers that a metric needs of each line."""

    def values(self, rows: Rows) -> tuple[float, ...]:
        """The metric's values of these lines taken together, in the order of its table entry."""

    def line_values(self) -> NDArray[np.float64] | None:
        """The values of each single line [N, F]; None where a single line has none."""


class Metric(Protocol):
    """A metric; `s2s.metrics.build` makes it from its entry in `s2s.recipe.metrics.METRICS`."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Statistics:
        """Compare outputs, one or more, with the references of their lines.

        The statistics are of all lines of the first output, then all of the second, and so on.
        """

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """How the values of the last `measure` were computed: `key:value` joined by `|`."""


@dataclass(frozen=True)
class Additive:
    """Statistics that add up over lines, as those of most metrics do."""

    rows_NK: NDArray[np.float64]
    total: Callable[[NDArray[np.float64]], tuple[float, ...]]
    """Values of summed statistics [K]."""
    single: Callable[[NDArray[np.float64]], tuple[float, ...]] | None = None
    """Values of one line's statistics [K]; None where `total` computes them too."""

    def values(self, rows: Rows) -> tuple[float, ...]:
        """See `Statistics`."""
        return self.total(self.rows_NK[rows].sum(axis=0))

    def line_values(self) -> NDArray[np.float64]:
        """See `Statistics`."""
        return np.array([(self.single or self.total)(row) for row in self.rows_NK])


def paired(
    outputs: Sequence[Sequence[str]], references: References
) -> tuple[list[str], list[tuple[str, ...]]]:
    """All lines of all outputs, and the references of each."""
    return [line for output in outputs for line in output], [*references] * len(outputs)


def mean(row_K: NDArray[np.float64]) -> tuple[float, ...]:
    """Means over lines, from their number and the sums of their values."""
    count, *sums = row_K.tolist()
    return tuple(value / count for value in sums)


def write_signature(
    nrefs: str, resampling: Resampling | None, details: Sequence[str], version: str
) -> str:
    """A signature in sacrebleu's order."""
    drawn = (
        [f"{resampling.sign}:{resampling.samples}", f"seed:{resampling.seed}"] if resampling else []
    )
    return "|".join([f"nrefs:{nrefs}", *drawn, *details, f"version:{version}"])


def case_of(lowercase: bool) -> str:
    """The case field of a signature."""
    return f"case:{'lc' if lowercase else 'mixed'}"
