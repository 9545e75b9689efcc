"""Metrics of labels: accuracy, macro F1, and of tags also the F1 of spans.

Dimension letters: N lines, L labels, K statistics of a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.metrics.base import Additive, References, Resampling, mean, paired, write_signature
from s2s.recipe.scoring import Scoring
from s2s.spaces import split_words
from s2s.version import __version__

Row = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """Share of lines whose label, or whose labels all, are those of the reference."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        found, wanted = paired(outputs, references)
        rows = [(1.0, 100.0 * (line in one)) for line, one in zip(found, wanted, strict=True)]
        return Additive(np.array(rows).reshape(-1, 2), mean)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        return write_signature(nrefs, resampling, ["match:line"], f"s2s-{__version__}")


@dataclass(frozen=True)
class MacroF1:
    """The mean over labels of F1 = 2 tp / (2 tp + fp + fn).

    The labels are those of references and outputs, as in scikit-learn's `f1_score` with
    `average="macro"`.
    """

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        found, options = paired(outputs, references)
        wanted = [one[0] for one in options]
        place = {label: i for i, label in enumerate(sorted({*found, *wanted}))}
        rows_NK = np.zeros((len(found), 3 * len(place)))
        every_N = np.arange(len(found))
        found_N = np.array([place[label] for label in found], dtype=np.intp)
        wanted_N = np.array([place[label] for label in wanted], dtype=np.intp)
        rows_NK[every_N, found_N * 3] = found_N == wanted_N
        rows_NK[every_N, found_N * 3 + 1] = 1
        rows_NK[every_N, wanted_N * 3 + 2] = 1
        return Additive(rows_NK, _macro_f1, lambda row_K: (100.0 * row_K[::3].sum(),))

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        return write_signature(nrefs, resampling, ["labels:seen"], f"s2s-{__version__}")


def _macro_f1(row_K: Row) -> tuple[float, ...]:
    """F1 of every label that occurs, averaged, from its hits, outputs and references."""
    hits_L, found_L, wanted_L = row_K.reshape(-1, 3).T
    total_L = found_L + wanted_L
    occurs_L = total_L > 0
    if not occurs_L.any():
        return (0.0,)
    return (float(100.0 * (2.0 * hits_L[occurs_L] / total_L[occurs_L]).mean()),)


@dataclass(frozen=True)
class TokenAccuracy:
    """Share of the reference's labels that the output has at the same place."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        rows = []
        for line, options in zip(*paired(outputs, references), strict=True):
            found, wanted = split_words(line), split_words(options[0])
            hits = sum(one == other for one, other in zip(found, wanted, strict=False))
            rows.append((float(len(wanted)), 100.0 * hits))
        return Additive(np.array(rows).reshape(-1, 2), _per_token)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        return write_signature(nrefs, resampling, ["tok:space"], f"s2s-{__version__}")


def _per_token(row_K: Row) -> tuple[float, ...]:
    count, hits = row_K.tolist()
    return (hits / count if count else 100.0,)


@dataclass(frozen=True)
class SpanF1:
    """F1, precision and recall of spans of tags `B-X`, `I-X`, `O`, by the package nervaluate.

    A span counts if both of its ends and its type are those of the reference (`strict` there).
    """

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`. Raises UsageError for other tags."""
        found, options = paired(outputs, references)
        rows = []
        for line, one in zip(found, options, strict=True):
            spans, wanted = _spans(line), _spans(one[0])
            rows.append((float(len(spans & wanted)), float(len(spans)), float(len(wanted))))
        return Additive(np.array(rows).reshape(-1, 3), _span_f1)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        details = ["tags:bio", "match:strict"]
        return write_signature(nrefs, resampling, details, f"nervaluate-{version('nervaluate')}")


def _spans(line: str) -> frozenset[tuple[str, int, int]]:
    """Type, first and last word of every span."""
    from nervaluate.loaders import ListLoader

    try:
        found = ListLoader().load([split_words(line)])[0]
    except ValueError as error:
        raise UsageError(
            f"metric 'span_f1': expected tags such as B-PER, I-PER and O, found {line[:40]!r}; "
            "'token_accuracy' is of any tags"
        ) from error
    return frozenset((one.label, one.start, one.end) for one in found)


def _span_f1(row_K: Row) -> tuple[float, ...]:
    """F1, precision and recall in per cent; 100 where there is no span at all."""
    hits, found, wanted = row_K.tolist()
    if not found + wanted:
        return 100.0, 100.0, 100.0
    precision = hits / found if found else 0.0
    recall = hits / wanted if wanted else 0.0
    return 200.0 * hits / (found + wanted), 100.0 * precision, 100.0 * recall


def build_accuracy(scoring: Scoring) -> Accuracy:
    """Share of equal lines."""
    return Accuracy()


def build_macro_f1(scoring: Scoring) -> MacroF1:
    """F1 averaged over labels."""
    return MacroF1()


def build_token_accuracy(scoring: Scoring) -> TokenAccuracy:
    """Share of equal labels of words."""
    return TokenAccuracy()


def build_span_f1(scoring: Scoring) -> SpanF1:
    """F1 of spans. Raises UsageError without nervaluate."""
    try:
        import nervaluate  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "metric 'span_f1' needs the package nervaluate: pip install nervaluate"
        ) from error
    return SpanF1()
