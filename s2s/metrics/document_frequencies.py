"""Document frequencies of n-grams in a fixed set of references, for CIDEr-D of few lines.

Dimension letters: P places of n-grams in texts, G different n-grams of a set, T texts.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import References
from s2s.metrics.tokenize import WordSplitter

Keys = NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, as in `s2s.training.update`: keys of different n-grams differ but
for a chance of about the square of their number over 2^65."""


class _Order(NamedTuple):
    """The n-grams of one order."""

    keys_G: Keys
    """Ascending."""
    counts_G: NDArray[np.int64]
    """The number of documents that have each."""


class DocumentFrequencies:
    """In how many documents n-grams occur; a document is all references of a line together."""

    def __init__(self, words: WordSplitter, references: References, orders: int) -> None:
        self._words: dict[str, int] = {}
        texts = [words(text) for options in references for text in options]
        for text in texts:
            for word in text:
                self._words.setdefault(word, len(self._words) + 1)
        counts = [len(options) for options in references]
        line_T = np.repeat(np.arange(len(references)), counts)
        self.documents = len(references)
        """The number of documents."""
        self._orders = [
            _counted(line_T[text_P], key_P) for text_P, key_P in self._ngrams(texts, orders)
        ]

    def of(self, texts: Sequence[Sequence[str]]) -> Iterator[NDArray[np.int64]]:
        """For each order, the frequencies int64 [P] of the n-grams of texts, in their order."""
        for found, (_, key_P) in zip(
            self._orders, self._ngrams(texts, len(self._orders)), strict=True
        ):
            if not len(found.keys_G):
                yield np.zeros(len(key_P), dtype=np.int64)
                continue
            place_P = np.searchsorted(found.keys_G, key_P).clip(max=len(found.keys_G) - 1)
            yield np.where(found.keys_G[place_P] == key_P, found.counts_G[place_P], 0)

    def _ngrams(
        self, texts: Sequence[Sequence[str]], orders: int
    ) -> Iterator[tuple[NDArray[np.int64], Keys]]:
        """For each order, the text and the key of every n-gram; a word of no reference is 0."""
        words = [self._words.get(word, 0) for text in texts for word in text]
        word_P = np.array(words, dtype=np.uint64)
        text_P = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        begin_P, key_P = np.arange(len(word_P)), word_P
        for order in range(1, orders + 1):
            if order > 1:
                end_P = begin_P + order - 1
                is_whole = end_P < len(word_P)
                is_whole[is_whole] = text_P[end_P[is_whole]] == text_P[begin_P[is_whole]]
                begin_P = begin_P[is_whole]
                key_P = key_P[is_whole] * _FACTOR + word_P[end_P[is_whole]]
            yield text_P[begin_P], key_P


def _counted(line_P: NDArray[np.int64], key_P: Keys) -> _Order:
    """The number of lines that have each n-gram."""
    keys_G, gram_P = np.unique(key_P, return_inverse=True)
    each = np.unique(line_P * max(1, len(keys_G)) + gram_P)
    counts_G = np.bincount(each % max(1, len(keys_G)), minlength=len(keys_G))
    return _Order(keys_G, counts_G.astype(np.int64))
