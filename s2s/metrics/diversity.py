"""The metric `variety`: numbers of distinct outputs and of distinct words in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import References, Resampling, Rows, write_signature
from s2s.metrics.distinct import Ngrams, number
from s2s.metrics.tokenize import WordSplitter, read_words
from s2s.recipe.scoring import Scoring
from s2s.version import __version__


@dataclass(frozen=True)
class DiversityStatistics:
    """Texts and words of lines; whether one is distinct depends on the other lines."""

    texts: Ngrams
    """The line as a whole, one for each."""
    words: Ngrams

    def values(self, rows: Rows) -> tuple[float, ...]:
        """See `Statistics`."""
        is_chosen_N = np.zeros(len(self.texts.lengths_N), dtype=bool)
        is_chosen_N[rows] = True
        texts = self.texts.num_distinct(is_chosen_N)
        return texts, 100.0 * texts / len(rows), self.words.num_distinct(is_chosen_N)

    def line_values(self) -> NDArray[np.float64] | None:
        """See `Statistics`: a single line has no value."""
        return None


@dataclass(frozen=True)
class Diversity:
    """Number and share of distinct outputs, and number of distinct words in them."""

    words: WordSplitter

    def measure(
        self, outputs: Sequence[Sequence[str]], references: References
    ) -> DiversityStatistics:
        """See `Metric`."""
        del references
        lines = [line for output in outputs for line in output]
        texts = [[line.lower() if self.words.lowercase else line] for line in lines]
        return DiversityStatistics(number(texts), number([self.words(line) for line in lines]))

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        del nrefs
        details = [*self.words.details, "output:line"]
        return write_signature("0", resampling, details, f"s2s-{__version__}")


def build_diversity(scoring: Scoring) -> Diversity:
    """The metric `variety`. Raises UsageError for a tokenization without its package."""
    return Diversity(read_words(scoring))
