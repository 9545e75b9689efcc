"""Exact matches and error rates: edits per token of the reference (Levenshtein 1966)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import (
    Additive,
    References,
    Resampling,
    case_of,
    mean,
    paired,
    write_signature,
)
from s2s.recipe.scoring import Scoring
from s2s.spaces import split_words
from s2s.version import __version__


@dataclass(frozen=True)
class Exact:
    """Share of lines that equal one of their references (`exact`), or none (`g2p_wer`)."""

    name: Literal["exact", "g2p_wer"]
    """`g2p_wer` is the word error rate of pronunciations, with one word per line."""
    lowercase: bool

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        fold = str.lower if self.lowercase else str
        hypotheses, wanted = paired(outputs, references)
        rows = np.ones((len(hypotheses), 2))
        for row, line, options in zip(rows, hypotheses, wanted, strict=True):
            is_equal = any(fold(line) == fold(one) for one in options)
            row[1] = is_equal == (self.name == "exact")
        return Additive(np.stack([rows[:, 0], 100.0 * rows[:, 1]], axis=1), mean)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        details = [case_of(self.lowercase), "match:line"]
        return write_signature(nrefs, resampling, details, f"s2s-{__version__}")


@dataclass(frozen=True)
class ErrorRate:
    """Insertions, deletions and substitutions per hundred tokens of the reference.

    The reference with the fewest edits counts; of equal ones, the longest.
    """

    name: Literal["wer", "cer", "per"]
    lowercase: bool

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        rows = [
            _edits(self._split(line), [self._split(one) for one in options])
            for line, options in zip(*paired(outputs, references), strict=True)
        ]
        return Additive(np.array(rows, dtype=np.float64), _rate)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        unit = {"wer": "word", "cer": "character", "per": "phone"}[self.name]
        tok = "none" if self.name == "cer" else "space"
        details = [case_of(self.lowercase), f"unit:{unit}", f"tok:{tok}", "refs:closest"]
        return write_signature(nrefs, resampling, details, f"rapidfuzz-{version('rapidfuzz')}")

    def _split(self, text: str) -> Sequence[str]:
        folded = text.lower() if self.lowercase else text
        return folded if self.name == "cer" else split_words(folded)


def _edits(tokens: Sequence[str], options: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Number of edits to the closest reference, and its length."""
    from rapidfuzz.distance import Levenshtein

    distance: Callable[[Sequence[str], Sequence[str]], int] = Levenshtein.distance
    found = [(distance(tokens, one), -len(one)) for one in options]
    edits, length = min(found)
    return edits, -length


def _rate(row_K: NDArray[np.float64]) -> tuple[float, ...]:
    """Error rate in per cent; without any token in the references, 100 unless outputs are empty."""
    edits, length = row_K.tolist()
    if length == 0:
        return (100.0 if edits else 0.0,)
    return (100.0 * edits / length,)


def build_exact(scoring: Scoring) -> Exact:
    """Share of exact matches."""
    return Exact("exact", scoring.lowercase)


def build_g2p_wer(scoring: Scoring) -> Exact:
    """Word error rate of pronunciations."""
    return Exact("g2p_wer", scoring.lowercase)


def build_wer(scoring: Scoring) -> ErrorRate:
    """Word error rate."""
    return ErrorRate("wer", scoring.lowercase)


def build_cer(scoring: Scoring) -> ErrorRate:
    """Character error rate."""
    return ErrorRate("cer", scoring.lowercase)


def build_per(scoring: Scoring) -> ErrorRate:
    """Phone error rate."""
    return ErrorRate("per", scoring.lowercase)
