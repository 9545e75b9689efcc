"""Bootstrap intervals and paired tests, with the random numbers and formulas of sacrebleu.

The numbers are those of `sacrebleu.significance`, with one exception: see `Paired`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import Resampling, Rows, Statistics
from s2s.metrics.scores import Interval

RESAMPLES = 1000
"""Bootstrap samples, the default of sacrebleu's command line."""

SHUFFLES = 10_000
"""Trials of approximate randomization, also the default of sacrebleu."""

CHUNK = 1 << 22
"""Number of random numbers in memory at a time."""

TestName = Literal["randomization", "bootstrap"]

TOLERANCE = 1e-9
"""Differences of scores below this count as equal, because the order of a sum affects rounding."""


FEW = 30
"""Shuffles that show whether a value changes at all."""


def seed() -> str:
    """The seed in signatures, from the environment variable of sacrebleu."""
    return os.environ.get("SACREBLEU_SEED", "12345").lower()


def intervals(statistics: Statistics, num_lines: int, samples: int) -> list[Interval]:
    """95 % intervals of a metric's values by bootstrap resampling (Koehn 2004)."""
    drawn = np.array([statistics.values(rows) for rows in _resamples(num_lines, samples)])
    return [_interval(column) for column in drawn.T]


def percentile_bounds(
    statistics: Statistics, num_lines: int, samples: int
) -> list[tuple[float, float]]:
    """The 2.5th and the 97.5th percentile of the values that `intervals` draws.

    Unlike an interval around a mean, they never exceed the values that are possible.
    """
    drawn = np.array([statistics.values(rows) for rows in _resamples(num_lines, samples)])
    return [(float(low), float(high)) for low, high in np.percentile(drawn, (2.5, 97.5), axis=0).T]


def resampling(samples: int) -> Resampling:
    """The bootstrap of `intervals`, for signatures."""
    return Resampling(samples, seed())


@dataclass(frozen=True)
class Paired:
    """A paired test of two outputs of the same lines.

    Two-sided, with p = (1 + at least as large differences) / (1 + trials) (Phipson & Smyth 2010).
    sacrebleu counts larger differences only: under its rule one line that differs is significant
    at p = 0.0001, because no shuffle gives a larger difference. If no trial ties with the observed
    difference, as is usual with BLEU and chrF, the two rules give the same p.
    """

    test: TestName
    samples: int

    @property
    def sign(self) -> Literal["bs", "ar"]:
        """The abbreviation of the test in signatures."""
        return "bs" if self.test == "bootstrap" else "ar"

    def p_values(self, pool: Statistics, num_lines: int) -> list[float]:
        """The p-value of each value. `pool` has all lines of one output, then all of the other."""
        first = np.arange(num_lines)
        observed = np.abs(self._difference(pool, first, first + num_lines))
        trials = np.abs(
            np.array([self._difference(pool, *pair) for pair in self._pairs(num_lines)])
        )
        if self.test == "bootstrap":
            trials -= trials.mean(axis=0)  # centred, for the hypothesis of no difference
        reached = (trials >= observed - TOLERANCE).sum(axis=0)
        return [float(count) for count in (reached + 1) / (self.samples + 1)]

    def is_flat(self, pool: Statistics, num_lines: int) -> list[bool]:
        """Whether each value is the same for both outputs, and for all that mix their lines."""
        first = np.arange(num_lines)
        own = self._difference(pool, first, first + num_lines)
        mixing = Paired("randomization", FEW)
        trials = [mixing._difference(pool, *pair) for pair in mixing._pairs(num_lines)]
        largest = np.abs(np.array([own, *trials])).max(axis=0)
        return [bool(difference <= TOLERANCE) for difference in largest]

    def _pairs(self, num_lines: int) -> Iterator[tuple[Rows, Rows]]:
        match self.test:
            case "bootstrap":
                for rows in _resamples(num_lines, self.samples):
                    yield rows, rows + num_lines
            case "randomization":
                places = np.arange(num_lines)
                for is_kept in _coins(num_lines, self.samples):
                    one = np.where(is_kept, places, places + num_lines)
                    yield one, np.where(is_kept, places + num_lines, places)
            case _:
                assert_never(self.test)

    @staticmethod
    def _difference(pool: Statistics, one: Rows, other: Rows) -> NDArray[np.float64]:
        return np.subtract(pool.values(one), pool.values(other))


def _generator() -> np.random.Generator:
    text = seed()
    return np.random.default_rng(None if text == "none" else int(text))


def _resamples(num_lines: int, samples: int) -> Iterator[Rows]:
    draw = _generator()
    for count in _chunks(num_lines, samples):
        yield from draw.choice(num_lines, size=(count, num_lines), replace=True)


def _coins(num_lines: int, samples: int) -> Iterator[NDArray[np.bool_]]:
    draw = _generator()
    for count in _chunks(num_lines, samples):
        yield from draw.integers(2, size=(count, num_lines), dtype=bool)


def _chunks(num_lines: int, samples: int) -> Iterator[int]:
    """Rows of random numbers to draw at a time.

    Multiples of 32 rows: numpy makes 32 coins from one number, so no coin is left over and the
    numbers equal those of a single call, as in sacrebleu.
    """
    most = 32 * max(1, CHUNK // (32 * num_lines))
    for begin in range(0, samples, most):
        yield min(most, samples - begin)


def _interval(drawn: NDArray[np.float64]) -> Interval:
    from sacrebleu.significance import estimate_ci

    mean, half_width = estimate_ci(drawn)
    return Interval(float(mean), float(half_width))
