"""Scores of lines of text against their references."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from s2s.errors import DataError
from s2s.metrics.base import References, Resampling, Statistics
from s2s.metrics.build import build
from s2s.metrics.resampling import RESAMPLES, intervals, resampling
from s2s.metrics.scores import Interval, Score, Scores
from s2s.recipe.metrics import METRICS, MetricName, Value
from s2s.recipe.scoring import Scoring
from s2s.spaces import without_end_space


@dataclass(frozen=True, kw_only=True)
class Request:
    """The metrics to compute, and how."""

    metrics: tuple[MetricName, ...]
    """In the order they are printed."""
    scoring: Scoring = field(default_factory=Scoring)
    """How the metrics read text."""
    confidence: bool = False
    """Whether to add 95 % confidence intervals."""
    confusion: bool = False
    """Whether to add the confusion matrix of labels."""


def score(
    names: Sequence[MetricName],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str | None]],
    *,
    scoring: Scoring | None = None,
    confidence: bool | int = False,
) -> Scores:
    """Scores of lines of text against one or more sets of reference lines.

    A set has None for a line with fewer references than others. `confidence` adds 95 % intervals; a
    number above 1 is the number of bootstrap samples. White space at the end of a line is ignored,
    as on sacrebleu's command line.

    Raises DataError for unequal numbers of lines or a line without a reference, UsageError if the
    package of a tokenization is not installed.
    """
    said, wanted = pair_up(hypotheses, references)
    values: list[Score] = []
    for name in names:
        metric = build(name, scoring or Scoring())
        statistics = metric.measure([said], wanted)
        drawn = resampled(confidence)
        signature = metric.signature(count_references(wanted), drawn)
        values += scores_of(METRICS[name].values, statistics, len(said), (signature, drawn))
    return Scores(
        tuple(values),
        blank_hypotheses=sum(not line for line in said),
        blank_references=sum(not all(options) for options in wanted),
    )


def resampled(confidence: bool | int) -> Resampling | None:
    """The bootstrap that `confidence` requests, if any."""
    samples = RESAMPLES if confidence is True else int(confidence)
    return resampling(samples) if samples > 1 else None


def scores_of(
    values: Sequence[Value],
    statistics: Statistics,
    num_lines: int,
    how: tuple[str, Resampling | None],
) -> list[Score]:
    """A metric's scores of all lines; `how` is their signature and the bootstrap, if any."""
    signature, drawn = how
    found = statistics.values(np.arange(num_lines))
    between: Sequence[Interval | None] = [None] * len(values)
    if drawn is not None:
        between = intervals(statistics, num_lines, drawn.samples)
    return [
        Score(value.name, value.label, number, signature, interval)
        for value, number, interval in zip(values, found, between, strict=True)
    ]


def pair_up(
    hypotheses: Sequence[str], references: Sequence[Sequence[str | None]]
) -> tuple[list[str], References]:
    """Lines and the references of each, without white space at the end. Raises DataError."""
    _check_counts(len(hypotheses), [len(lines) for lines in references])
    said = [without_end_space(line) for line in hypotheses]
    wanted = [
        tuple(without_end_space(line) for line in options if line is not None)
        for options in zip(*references, strict=True)
    ]
    for number, options in enumerate(wanted, start=1):
        if not options:
            raise DataError(f"line {number:,}: no reference")
    return said, wanted


def count_references(references: References) -> str:
    """Number of references for signatures; `var` if it differs between lines."""
    counts = {len(options) for options in references}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _check_counts(said: int, wanted: Sequence[int]) -> None:
    if not wanted:
        raise DataError("nothing to score against: no references")
    for number, count in enumerate(wanted, start=1):
        if count != said:
            which = "references" if len(wanted) == 1 else f"references {number}"
            raise DataError(
                f"{which}: expected {said:,} lines, one per translation, found {count:,}"
            )
    if said == 0:
        raise DataError("nothing to score: translations and references have no lines")
