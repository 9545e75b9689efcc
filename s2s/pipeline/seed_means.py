"""Means over seeds of the settings of a sweep, and what they differ by from the first.

Two settings trained with the same seeds share order of data and draws, so differences are taken
seed by seed (paired), and their mean has Student's interval with n - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, Protocol

SEED = "seed"

QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles of Student's t for 1 to 30 degrees of freedom; the normal one is 1.960."""


class Trained(Protocol):
    """A setting and the results of its run."""

    @property
    def values(self) -> dict[str, str]:
        """The values of the varied fields, by their dotted paths."""

    @property
    def state(self) -> str:
        """`finished`, or another."""

    @property
    def minutes(self) -> float | None:
        """The duration of training."""

    def score(self, metric: str) -> float | None:
        """A result of validation; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class SeedMean:
    """The finished runs of one setting that differ in nothing but their seeds."""

    values: dict[str, str]
    """The values of the varied fields but for the seed."""
    seeds: tuple[str, ...]
    mean: float
    deviation: float | None
    """The standard deviation between seeds, n - 1 in the denominator; None for one seed."""
    minutes: float
    """The mean duration of training."""
    difference: float | None = None
    """The mean of the differences from the first setting, over seeds that both have; None for the
    first setting itself, and without such seeds."""
    interval: float | None = None
    """Half of its 95 % interval; None for fewer than two seeds."""

    def as_json(self) -> dict[str, Any]:
        """The setting as a JSON object."""
        return asdict(self)


def seed_means(settings: Sequence[Trained], metric: str) -> list[SeedMean]:
    """The means of settings in their order; none where no two runs differ in their seeds alone."""
    scores: dict[tuple[tuple[str, str], ...], dict[str, tuple[float, float]]] = {}
    for one in settings:
        score = one.score(metric)
        if one.state != "finished" or score is None or SEED not in one.values:
            continue
        others = tuple((path, value) for path, value in one.values.items() if path != SEED)
        scores.setdefault(others, {})[one.values[SEED]] = (score, one.minutes or 0.0)
    if all(len(by_seed) < 2 for by_seed in scores.values()):
        return []
    found = []
    first = next(iter(scores.values()))
    for others, by_seed in scores.items():
        values = [score for score, _ in by_seed.values()]
        shared = [seed for seed in by_seed if seed in first]
        differences = [by_seed[seed][0] - first[seed][0] for seed in shared]
        is_first = by_seed is first
        found.append(
            SeedMean(
                values=dict(others),
                seeds=tuple(by_seed),
                mean=fmean(values),
                deviation=stdev(values) if len(values) > 1 else None,
                minutes=fmean(minutes for _, minutes in by_seed.values()),
                difference=None if is_first or not shared else fmean(differences),
                interval=None if is_first else half_interval(differences),
            )
        )
    return found


def half_interval(values: Sequence[float]) -> float | None:
    """Half of Student's 95 % interval of the mean of some values; None for fewer than two."""
    if len(values) < 2:
        return None
    freedom = len(values) - 1
    quantile = QUANTILES[freedom - 1] if freedom <= len(QUANTILES) else 1.960
    return quantile * stdev(values) / math.sqrt(len(values))


def rows_of(means: Sequence[SeedMean], metric: str, names: Mapping[str, str]) -> list[list[str]]:
    """A table: a head, then a row for each setting; `names` are those of the varied fields."""
    if not means:
        return []
    paths = [path for path in names if path != SEED]
    head = [f"{metric}, mean", "deviation", "from the first", "min", "seeds"]
    rows = [[*head, *(names[path] for path in paths)]]
    for one in means:
        difference = "" if one.difference is None else f"{one.difference:+.2f}"
        if one.interval is not None:
            difference += f" ± {one.interval:.2f}"
        rows.append(
            [
                f"{one.mean:.2f}",
                "-" if one.deviation is None else f"{one.deviation:.2f}",
                difference,
                f"{one.minutes:.1f}",
                f"{len(one.seeds)}",
                *(one.values.get(path, "-") for path in paths),
            ]
        )
    return rows
