"""The confusion matrix of labels: how often each was predicted in the place of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s2s.errors import DataError
from s2s.metrics.labels import plain
from s2s.spaces import split_words

MOST_LABELS = 200
"""The most labels of a matrix that a reader could look at."""

OF_WORDS = ("token_accuracy", "span_f1")
"""Metrics whose labels are words of a line; those of others are lines."""


@dataclass(frozen=True)
class Confusion:
    """Counts of pairs of labels."""

    labels: tuple[str, ...]
    """All labels of references and outputs, sorted."""
    counts: tuple[tuple[int, ...], ...]
    """A row for each label of references, a column for each label of outputs."""

    def lines(self) -> list[str]:
        """The matrix as text, with a row for each label of references."""
        head = ("reference \\ output", *self.labels)
        rows = [
            (label, *map(str, row)) for label, row in zip(self.labels, self.counts, strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        found = []
        for first, *others in (head, *rows):
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            found.append("  ".join((first.ljust(widths[0]), *cells)))
        return found

    def as_json(self) -> dict[str, Any]:
        """The matrix in JSON."""
        return {"labels": list(self.labels), "counts": [list(row) for row in self.counts]}


def confusion(
    outputs: Sequence[str], references: Sequence[str], metrics: Sequence[str]
) -> Confusion:
    """The matrix of outputs and references, lines or, where the metrics are of words, words.

    Raises DataError for labels that are too many to be looked at, as texts are.
    """
    pairs = zip(outputs, references, strict=True)
    if any(name in OF_WORDS for name in metrics):
        counted = Counter(
            pair
            for output, reference in pairs
            for pair in zip(split_words(reference), split_words(output), strict=False)
        )
    else:
        counted = Counter((plain(reference), plain(output)) for output, reference in pairs)
    labels = tuple(sorted({label for pair in counted for label in pair}))
    if len(labels) > MOST_LABELS:
        raise DataError(
            f"a confusion matrix of {len(labels):,} labels; expected {MOST_LABELS} at most"
        )
    counts = tuple(tuple(counted[wanted, found] for found in labels) for wanted in labels)
    return Confusion(labels, counts)
