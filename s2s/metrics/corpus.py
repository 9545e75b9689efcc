"""BLEU and chrF as sacrebleu computes them (Post 2018), and the share of exact matches."""

import math
from collections.abc import Sequence
from typing import Any, Literal, assert_never

from s2s.errors import DataError, UsageError
from s2s.metrics.scores import Interval, Score, Scores

MetricName = Literal["bleu", "chrf", "exact"]

RESAMPLES = 1000
"""Bootstrap samples of a confidence interval; the default of sacrebleu's command line."""


def score(
    names: Sequence[MetricName],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    confidence: bool | int = False,
) -> Scores:
    """Figures for lines of text against one or more complete sets of reference lines.

    `tokenize` is BLEU's alone, `lowercase` is for all. `confidence` asks for 95 % intervals, by so
    many bootstrap samples where it is a number above 1. White space at the end of a line counts
    for nothing, as on sacrebleu's command line, whose numbers and signatures these are.

    Raises DataError for unequal numbers of lines, UsageError for an unknown tokenization or one
    whose package is not installed.
    """
    _check_counts(len(hypotheses), [len(lines) for lines in references])
    resamples = RESAMPLES if confidence is True else int(confidence)
    said = [line.rstrip() for line in hypotheses]
    wanted = [[line.rstrip() for line in lines] for lines in references]
    figures = []
    for name in names:
        match name:
            case "bleu":
                figures.append(_by(_bleu(tokenize, lowercase), name, said, wanted, resamples))
            case "chrf":
                figures.append(_by(_chrf(lowercase), name, said, wanted, resamples))
            case "exact":
                figures.append(_exact(said, wanted, lowercase, with_interval=resamples > 1))
            case _:
                assert_never(name)
    return Scores(tuple(figures))


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


def _bleu(tokenize: str, lowercase: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    if tokenize not in BLEU.TOKENIZERS:
        known = ", ".join(BLEU.TOKENIZERS)
        raise UsageError(f"tokenize: expected one of {known}, found '{tokenize}'")
    try:
        return BLEU(tokenize=tokenize, lowercase=lowercase)
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"tokenize '{tokenize}' cannot be used: {reason}") from error


def _chrf(lowercase: bool) -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(lowercase=lowercase)


def _by(metric: Any, name: str, said: list[str], wanted: list[list[str]], resamples: int) -> Score:
    """One of sacrebleu's metrics."""
    found = metric.corpus_score(said, wanted, n_bootstrap=max(resamples, 1))
    # Without a bootstrap sacrebleu leaves -1 in both.
    interval = Interval(float(found._mean), float(found._ci)) if resamples > 1 else None
    return Score(name, found.name, found.score, str(metric.get_signature()), interval)


def _exact(
    said: list[str], wanted: list[list[str]], lowercase: bool, *, with_interval: bool
) -> Score:
    """Share of lines equal to one of their references; interval of the normal approximation."""
    fold = str.lower if lowercase else str
    hits = sum(
        any(fold(line) == fold(one) for one in options)
        for line, *options in zip(said, *wanted, strict=True)
    )
    value = 100.0 * hits / len(said)
    signature = f"nrefs:{len(wanted)}|case:{'lc' if lowercase else 'mixed'}|match:line"
    interval = None
    if with_interval:
        signature += "|ci:normal"
        interval = Interval(value, 1.96 * math.sqrt(value * (100.0 - value) / len(said)))
    return Score("exact", "exact", value, signature, interval)
