"""Metrics of labels: accuracy, macro F1, and of tags also the F1 of spans.

Dimension letters: N lines, L labels, K statistics of a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.metrics.base import (
    Additive,
    References,
    Resampling,
    Rows,
    mean,
    paired,
    write_signature,
)
from s2s.recipe.scoring import Scoring
from s2s.spaces import split_words
from s2s.version import __version__

Row = NDArray[np.float64]


def plain(label: str) -> str:
    """A label with single spaces: others cannot be seen."""
    return " ".join(split_words(label))


def _single(metric: str, references: References) -> list[str]:
    """The reference of every line. Raises UsageError for several: labels are right or wrong."""
    if any(len(options) > 1 for options in references):
        raise UsageError(f"metric '{metric}' compares with one reference, found several")
    return [plain(options[0]) for options in references]


@dataclass(frozen=True)
class Accuracy:
    """Share of lines whose label, or whose labels all, are those of a reference."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        found, wanted = paired(outputs, references)
        rows = [
            (1.0, 100.0 * (plain(line) in map(plain, options)))
            for line, options in zip(found, wanted, strict=True)
        ]
        return Additive(np.array(rows).reshape(-1, 2), mean)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        return write_signature(nrefs, resampling, ["match:line"], f"s2s-{__version__}")


@dataclass(frozen=True)
class LabelPairs:
    """Statistics of lines with one label each."""

    found_N: NDArray[np.intp]
    wanted_N: NDArray[np.intp]
    labels: int

    def values(self, rows: Rows) -> tuple[float, ...]:
        """F1 of every label that occurs in these lines, averaged."""
        found_N, wanted_N = self.found_N[rows], self.wanted_N[rows]
        hits_L = np.bincount(found_N[found_N == wanted_N], minlength=self.labels)
        total_L = np.bincount(found_N, minlength=self.labels)
        total_L = total_L + np.bincount(wanted_N, minlength=self.labels)
        occurs_L = total_L > 0
        if not occurs_L.any():
            return (0.0,)
        return (float(100.0 * (2.0 * hits_L[occurs_L] / total_L[occurs_L]).mean()),)

    def line_values(self) -> NDArray[np.float64]:
        """100 where the label is right, 0 elsewhere."""
        found_N1: NDArray[np.float64] = np.where(self.found_N == self.wanted_N, 100.0, 0.0)[:, None]
        return found_N1


@dataclass(frozen=True)
class MacroF1:
    """The mean over labels of F1 = 2 tp / (2 tp + fp + fn).

    The labels are those of references and outputs, as in scikit-learn's `f1_score` with
    `average="macro"`.
    """

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> LabelPairs:
        """See `Metric`. Raises UsageError for several references."""
        wanted = _single("macro_f1", references) * len(outputs)
        found = [plain(line) for output in outputs for line in output]
        place = {label: i for i, label in enumerate(sorted({*found, *wanted}))}
        found_N = np.array([place[label] for label in found], dtype=np.intp)
        wanted_N = np.array([place[label] for label in wanted], dtype=np.intp)
        return LabelPairs(found_N, wanted_N, len(place))

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        return write_signature(nrefs, resampling, ["labels:seen"], f"s2s-{__version__}")


@dataclass(frozen=True)
class TokenAccuracy:
    """Share of the reference's labels that the output has at the same place."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`. Raises UsageError for several references."""
        rows = []
        lines = [line for output in outputs for line in output]
        every = _single("token_accuracy", references) * len(outputs)
        for line, reference in zip(lines, every, strict=True):
            found, wanted = split_words(line), split_words(reference)
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

    Tags of IOBES and BILOU are read as those.

    A span counts if both of its ends and its type are those of the reference (`strict` there).
    """

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`. Raises UsageError for other tags and for several references."""
        rows = []
        lines = [line for output in outputs for line in output]
        every = _single("span_f1", references) * len(outputs)
        for line, reference in zip(lines, every, strict=True):
            spans, wanted = _spans(line), _spans(reference)
            rows.append((float(len(spans & wanted)), float(len(spans)), float(len(wanted))))
        return Additive(np.array(rows).reshape(-1, 3), _span_f1)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        details = ["tags:bio", "match:strict"]
        return write_signature(nrefs, resampling, details, f"nervaluate-{version('nervaluate')}")


BEGIN, INSIDE = ("B", "S", "U"), ("I", "E", "L")
"""First letters of tags of BIO, IOBES and BILOU; the last two mark ends as well."""


def is_span_tag(tag: str) -> bool:
    """Whether a tag is of spans: `O`, or a letter, with a type after a hyphen or without."""
    return tag == "O" or (tag[:1] in (*BEGIN, *INSIDE) and tag[1:2] in ("", "-"))


def _bio(tag: str) -> str:
    """The tag in the scheme BIO, with a type."""
    if tag == "O" or not is_span_tag(tag):
        return tag
    return f"{'B' if tag[0] in BEGIN else 'I'}-{tag[2:]}"


def _spans(line: str) -> frozenset[tuple[str, int, int]]:
    """Type, first and last word of every span."""
    from nervaluate.loaders import ListLoader

    try:
        found = ListLoader().load([[_bio(tag) for tag in split_words(line)]])[0]
    except ValueError as error:
        raise UsageError(not_spans(line[:40])) from error
    return frozenset((one.label, one.start, one.end) for one in found)


def not_spans(found: str) -> str:
    """The message for tags that are not of spans."""
    return (
        f"metric 'span_f1': expected tags such as B-PER, I-PER and O, found {found!r}; "
        "'token_accuracy' is of any tags"
    )


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
