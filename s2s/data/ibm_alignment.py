"""Alignments of tokens by IBM Model 1: the most probable links in both directions, intersected.

In each direction every token is aligned to the token of the other side that explains it best, or to
the empty word (Brown et al. 1993, section 4.1). The links that both directions have are precise
(Och & Ney 2003, "A Systematic Comparison of Various Statistical Alignment Models", section 5).

Dimension letters: O tokens of some sentences, P pairs of tokens of a sentence, C cells.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.data.ibm_model1 import Cells, Ints, model_one, pair_keys, sampled
from s2s.data.store import Corpus
from s2s.text.arrays import ranges

SENTENCES = 4096
"""Sentences that are aligned at a time."""


def learned_links(
    corpus: Corpus, seed: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Links int32 [L, 2] of the pairs of a corpus and the number of each pair's, some pairs at a
    time. Corpora with many pairs of tokens are learned from a sample, a function of the seed."""
    chosen = sampled(corpus, seed)
    models = [_Direction(corpus, chosen), _Direction(_turned(corpus), chosen)]
    for first in range(0, len(corpus), SENTENCES):
        some = np.arange(first, min(first + SENTENCES, len(corpus)))
        yield _intersected(corpus, some, *(model.best(some) for model in models))


def _turned(corpus: Corpus) -> Corpus:
    """The corpus with its sides exchanged."""
    return Corpus(
        corpus.target_values, corpus.target_offsets, corpus.source_values, corpus.source_offsets
    )


class _Direction:
    """Model 1 of target tokens given source tokens."""

    def __init__(self, corpus: Corpus, chosen: Ints) -> None:
        self.corpus = corpus
        self.width = int(corpus.target_values.max(initial=0)) + 1
        cells: Cells = model_one(corpus, chosen, self.width)
        self.keys_C = cells.source_C.astype(np.int64) * self.width + cells.target_C
        self.probs_C = cells.probs_C

    def best(self, some: Ints) -> Ints:
        """For each target token the place of its source token, int64 [O]; their number is that of
        the empty word."""
        keys_P = pair_keys(self.corpus, some, self.width)
        widths_O = np.repeat(self.corpus.source_lengths[some] + 1, self.corpus.target_lengths[some])
        if not len(keys_P):
            return np.zeros(0, dtype=np.int64)
        place_P = np.minimum(np.searchsorted(self.keys_C, keys_P), len(self.keys_C) - 1)
        probs_P = np.where(self.keys_C[place_P] == keys_P, self.probs_C[place_P], 0.0)
        starts_O = np.cumsum(widths_O) - widths_O
        most_P = np.repeat(np.maximum.reduceat(probs_P, starts_O), widths_O)
        places = np.flatnonzero(probs_P == most_P)
        owner = np.repeat(np.arange(len(widths_O)), widths_O)[places]
        _, firsts = np.unique(owner, return_index=True)  # of equal ones the first
        best: Ints = places[firsts] - starts_O
        return best


def _intersected(
    corpus: Corpus, some: Ints, source_of: Ints, target_of: Ints
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The links of some sentences that both directions have."""
    sources, targets = corpus.source_lengths[some], corpus.target_lengths[some]
    sentence_O = np.repeat(np.arange(len(some)), targets)
    target_O = ranges(np.zeros_like(targets), targets)
    is_linked = source_of < sources[sentence_O]
    # The place of each target's source token among the source tokens of all these sentences.
    place_O = (np.cumsum(sources) - sources)[sentence_O] + np.where(is_linked, source_of, 0)
    if len(target_of):
        is_linked &= target_of[np.minimum(place_O, len(target_of) - 1)] == target_O
    links: Any = np.stack((source_of, target_O), axis=1)[is_linked]
    counts = np.bincount(sentence_O[is_linked], minlength=len(some)).astype(np.int64)
    return links.astype(np.int32), counts
