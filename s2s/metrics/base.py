"""What every metric has in common: statistics of lines, of which any selection has a value.

Dimension letters: N lines, K statistics of a line, F figures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from s2s.recipe.metrics import ValueName

References = Sequence[tuple[str, ...]]
"""The references of every line, one or more each."""

Rows = NDArray[np.intp]
"""Numbers of lines, in which one may occur several times."""


@dataclass(frozen=True)
class Figure:
    """A number that a metric gives."""

    name: ValueName
    """What recipes call it."""
    label: str
    """What readers call it."""


@dataclass(frozen=True)
class Resampling:
    """A bootstrap or a paired test, as signatures state it."""

    samples: int
    """Number of resamples or trials."""
    seed: str
    """Seed of the random numbers, or `none`."""
    sign: Literal["bs", "ar"] = "bs"
    """sacrebleu's word for bootstrap or approximate randomization."""


class Statistics(Protocol):
    """What a metric has to know of each line, references included."""

    def values(self, rows: Rows) -> tuple[float, ...]:
        """The metric's figures for these lines taken together."""

    def line_values(self) -> NDArray[np.float64] | None:
        """The figures of every line by itself [N, F]; None where a line alone has none."""


class Metric(Protocol):
    """One of the metrics; `s2s.metrics.build` makes them."""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The numbers it gives."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Statistics:
        """Compare outputs, one or more, with the references of their lines.

        The statistics are of all lines of the first output, then all of the second, and so on.
        """

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """How the numbers of the last `measure` came about, `key:value` joined by `|`."""


@dataclass(frozen=True)
class Additive:
    """Statistics that are sums over lines: nearly all of them."""

    rows_NK: NDArray[np.float64]
    total: Callable[[NDArray[np.float64]], tuple[float, ...]]
    """Figures of summed statistics [K]."""
    single: Callable[[NDArray[np.float64]], tuple[float, ...]] | None = None
    """Figures of one line's [K], where they are computed in another way."""

    def values(self, rows: Rows) -> tuple[float, ...]:
        """See `Statistics`."""
        return self.total(self.rows_NK[rows].sum(axis=0))

    def line_values(self) -> NDArray[np.float64]:
        """See `Statistics`."""
        return np.array([(self.single or self.total)(row) for row in self.rows_NK])


def paired(
    outputs: Sequence[Sequence[str]], references: References
) -> tuple[list[str], list[tuple[str, ...]]]:
    """All lines of all outputs, and for each its references."""
    return [line for output in outputs for line in output], [*references] * len(outputs)


def mean(row_K: NDArray[np.float64]) -> tuple[float, ...]:
    """Means over lines: of their number, then sums."""
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
    """The signature's word on case."""
    return f"case:{'lc' if lowercase else 'mixed'}"
