"""Comparison of outputs for the same lines: scores, paired tests, lines that differ most."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.errors import DataError, UsageError
from s2s.metrics.base import References, Resampling
from s2s.metrics.build import build
from s2s.metrics.corpus import count_references, pair_up
from s2s.metrics.resampling import TOLERANCE, Paired, seed
from s2s.metrics.scores import Score
from s2s.recipe.metrics import LOWER_IS_BETTER, METRICS, MetricName, Value
from s2s.recipe.scoring import Scoring
from s2s.spaces import without_end_space

TELLING: tuple[MetricName, ...] = ("chrf", "exact")
"""Metrics that tell outputs apart where others are flat, as BLEU is for lines of a few words."""


@dataclass(frozen=True)
class System:
    """One output."""

    name: str
    """Name of a file or a run."""
    lines: Sequence[str]


@dataclass(frozen=True)
class Contrast:
    """One score of an output in comparison with the baseline's."""

    score: Score
    p_value: float
    """Probability of at least such a difference under the null hypothesis."""
    wins: int | None
    """Number of lines with a better score than the baseline; None if single lines have none."""
    ties: int | None
    losses: int | None
    is_flat: bool = False
    """Whether the metric has this value whichever lines are exchanged with the baseline's, although
    texts differ: it cannot tell the two apart, and p says nothing."""


@dataclass(frozen=True)
class LineDifference:
    """A line on which an output and the baseline score differently."""

    line: int
    """From 1."""
    baseline: float
    other: float


@dataclass(frozen=True)
class Against:
    """An output in comparison with the baseline."""

    name: str
    contrasts: tuple[Contrast, ...]
    by: str | None
    """Label of the score by which lines differ; None if no metric scores single lines."""
    lines: tuple[LineDifference, ...]
    """Lines that differ most, the largest difference first."""
    num_unequal: int
    """Number of lines with different texts."""


@dataclass(frozen=True)
class Comparison:
    """The first output as baseline, and the others in comparison with it."""

    baseline: str
    scores: tuple[Score, ...]
    """Scores of the baseline."""
    others: tuple[Against, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON."""
        others = []
        for other in self.others:
            scores = {
                contrast.score.name: {
                    **contrast.score.as_json(),
                    "p": contrast.p_value,
                    "wins": contrast.wins,
                    "ties": contrast.ties,
                    "losses": contrast.losses,
                    "flat": contrast.is_flat,
                }
                for contrast in other.contrasts
            }
            lines = [asdict(line) for line in other.lines]
            others.append(
                {
                    "name": other.name,
                    "scores": scores,
                    "unequal_lines": other.num_unequal,
                    "by": other.by,
                    "lines": lines,
                }
            )
        scores = {score.name: score.as_json() for score in self.scores}
        return {"baseline": {"name": self.baseline, "scores": scores}, "others": others}


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Metrics and test of a comparison."""

    metrics: tuple[MetricName, ...]
    scoring: Scoring
    test: Paired
    by: str | None = None
    """Name of the value by which lines differ most; None for the first that lines have."""
    num_lines: int = 10
    """Number of those lines."""


def compare(
    systems: Sequence[System], references: Sequence[Sequence[str | None]], contest: Contest
) -> Comparison:
    """Compare the first of two or more outputs with each of the others.

    Where all metrics of the contest are flat for an output (`Contrast.is_flat`), those of `TELLING`
    are added. Raises DataError where outputs or references differ in their number of lines,
    UsageError where `contest.by` is no value that its metrics give for single lines.
    """
    first, *others = systems
    for other in others:
        if len(other.lines) != len(first.lines):
            raise DataError(
                f"{other.name}: expected {len(first.lines):,} lines, as in {first.name}, found "
                f"{len(other.lines):,}"
            )
    said, wanted = pair_up(first.lines, references)
    baseline = System(first.name, said)
    found = [_against(baseline, other, wanted, contest) for other in others]
    if any(all(contrast.is_flat for contrast in other.contrasts) for _, other in found):
        contest = replace(contest, metrics=(*contest.metrics, *TELLING))
        found = [_against(baseline, other, wanted, contest) for other in others]
    return Comparison(first.name, found[0][0], tuple(against for _, against in found))


def _against(
    first: System, other: System, references: References, contest: Contest
) -> tuple[tuple[Score, ...], Against]:
    lines = [without_end_space(line) for line in other.lines]
    scores: list[Score] = []
    contrasts: list[Contrast] = []
    by: tuple[str, list[LineDifference]] | None = None
    for name in dict.fromkeys(contest.metrics):
        metric, values = build(name, contest.scoring), METRICS[name].values
        pool = metric.measure([first.lines, lines], references)
        places = np.arange(len(lines))
        signature = metric.signature(
            count_references(references),
            Resampling(contest.test.samples, seed(), contest.test.sign),
        )
        ones = _scores(values, pool.values(places), signature)
        twos = _scores(values, pool.values(places + len(lines)), signature)
        p_values = contest.test.p_values(pool, len(lines))
        flat = (
            contest.test.is_flat(pool, len(lines))
            if lines != list(first.lines)
            else [False] * len(ones)
        )
        each = pool.line_values()
        for column, (one, two) in enumerate(zip(ones, twos, strict=True)):
            pair = None if each is None else each[:, column].reshape(2, -1)
            contrast = Contrast(two, p_values[column], None, None, None, flat[column])
            contrasts.append(contrast if pair is None else _counted(contrast, pair))
            if by is None and pair is not None and contest.by in (None, one.name):
                by = one.label, _most_different(pair, contest.num_lines)
        scores += ones
    if by is None and contest.by is not None:
        raise UsageError(
            f"--by {contest.by}: expected a value that single lines have, one of "
            f"{', '.join(c.score.name for c in contrasts if c.wins is not None) or 'none here'}"
        )
    label, different = by or (None, [])
    num_unequal = sum(a != b for a, b in zip(first.lines, lines, strict=True))
    against = Against(other.name, tuple(contrasts), label, tuple(different), num_unequal)
    return tuple(scores), against


def _scores(values: Sequence[Value], found: Sequence[float], signature: str) -> list[Score]:
    return [
        Score(value.name, value.label, number, signature)
        for value, number in zip(values, found, strict=True)
    ]


def _counted(contrast: Contrast, pair_2N: NDArray[np.float64]) -> Contrast:
    gains_N = pair_2N[1] - pair_2N[0]
    if contrast.score.name in LOWER_IS_BETTER:
        gains_N = -gains_N
    wins, losses = int((gains_N > TOLERANCE).sum()), int((gains_N < -TOLERANCE).sum())
    return replace(contrast, wins=wins, losses=losses, ties=len(gains_N) - wins - losses)


def _most_different(pair_2N: NDArray[np.float64], count: int) -> list[LineDifference]:
    sizes_N = np.abs(pair_2N[1] - pair_2N[0])
    order = np.argsort(-sizes_N, kind="stable")[:count]
    return [
        LineDifference(int(i) + 1, float(pair_2N[0, i]), float(pair_2N[1, i]))
        for i in order
        if sizes_N[i] > TOLERANCE
    ]
