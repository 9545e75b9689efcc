"""distinct-1 and distinct-2: distinct n-grams per token (Li et al. 2016, section 5.3)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import References, Resampling, Rows, write_signature
from s2s.metrics.tokenize import WordSplitter, read_words
from s2s.recipe.scoring import Scoring
from s2s.version import __version__


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of lines of text, of one order."""

    ids: NDArray[np.intp]
    """Numbers of the n-grams of all lines, one line after the other."""
    lengths_N: NDArray[np.intp]
    """Number of n-grams of each line."""
    count: int
    """Number of distinct n-grams."""

    def num_distinct(self, is_chosen_N: NDArray[np.bool_]) -> int:
        """Number of distinct n-grams in the chosen lines."""
        seen = np.zeros(self.count, dtype=bool)
        seen[self.ids[np.repeat(is_chosen_N, self.lengths_N)]] = True
        return int(seen.sum())


@dataclass(frozen=True)
class DistinctStatistics:
    """Tokens and bigrams of lines; whether one is new depends on the other lines."""

    unigrams: Ngrams
    bigrams: Ngrams

    def values(self, rows: Rows) -> tuple[float, ...]:
        """See `Statistics`. Both are per token, as in the paper; 0 without tokens."""
        is_chosen_N = np.zeros(len(self.unigrams.lengths_N), dtype=bool)
        is_chosen_N[rows] = True
        tokens = int(self.unigrams.lengths_N[rows].sum())
        return tuple(
            100.0 * grams.num_distinct(is_chosen_N) / max(tokens, 1)
            for grams in (self.unigrams, self.bigrams)
        )

    def line_values(self) -> None:
        """See `Statistics`: a single line has no value."""
        return


@dataclass(frozen=True)
class Distinct:
    """Distinct unigrams and bigrams per hundred tokens of the outputs, without references."""

    words: WordSplitter

    def measure(
        self, outputs: Sequence[Sequence[str]], references: References
    ) -> DistinctStatistics:
        """See `Metric`."""
        del references
        tokens = [self.words(line) for line in chain.from_iterable(outputs)]
        return DistinctStatistics(number(tokens), number([list(pairwise(line)) for line in tokens]))

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        del nrefs
        details = [*self.words.details, "per:token"]
        return write_signature("0", resampling, details, f"s2s-{__version__}")


def number(lines: Sequence[Sequence[Hashable]]) -> Ngrams:
    """Number the items of lines; equal items have one number."""
    numbers: dict[Hashable, int] = {}
    ids = [numbers.setdefault(gram, len(numbers)) for gram in chain.from_iterable(lines)]
    lengths = [len(line) for line in lines]
    return Ngrams(np.array(ids, dtype=np.intp), np.array(lengths, dtype=np.intp), len(numbers))


def build_distinct(scoring: Scoring) -> Distinct:
    """distinct-1 and distinct-2. Raises UsageError for a tokenization without its package."""
    return Distinct(read_words(scoring))
