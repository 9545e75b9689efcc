"""IBM Model 1: lexical translation probabilities, learned from a corpus by EM.

Brown et al. 1993, "The mathematics of statistical machine translation", section 4.1: every target
token is the translation of one source token of its sentence or of the empty word, all of them with
the same probability. The likelihood has one maximum, so EM needs no initialization.

Dimension letters: O target tokens of all sentences (occurrences), P pairs of a target and a source
token of the same sentence, C cells (different pairs), V source vocabulary, W target vocabulary,
M translations kept.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.data.store import Corpus
from s2s.special import PAD
from s2s.text.arrays import ranges

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

ITERATIONS = 5
"""Iterations of EM, as in Brown et al.; more hardly increase the likelihood."""

PAIRS = 1 << 25
"""The most pairs of tokens to learn from: about 1.5 GB of memory."""

KEPT = 64
"""The most translations of a source token in a lexicon: enough for any shortlist."""

LEAST = 1e-4
"""Translations less probable than this are dropped."""

NULL = PAD
"""The id of the empty word, which no source contains."""

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Target tokens by frequency, and the translations of every source token."""

    by_frequency_W: NDArray[np.int64]
    """All target tokens, the most frequent first; of equally frequent ones the lower id."""
    tokens_VM: NDArray[np.int64]
    """Translations, the most probable first; 0 after the last."""
    probs_VM: NDArray[np.float32]
    """p(translation | source token); 0 after the last."""

    @property
    def known(self) -> int:
        """The number of source tokens that have translations."""
        return int((self.probs_VM[:, :1] > 0.0).sum())


@dataclass(frozen=True, eq=False)
class Cells:
    """p(target token | source token) of tokens in one sentence, sorted by source, then target."""

    source_C: Ints
    target_C: Ints
    probs_C: Floats


def by_frequency(corpus: Corpus, vocabulary: int) -> NDArray[np.int64]:
    """All ids of the target vocabulary, the most frequent in the corpus first."""
    counts = np.bincount(corpus.target_values, minlength=vocabulary)
    return np.argsort(-counts, kind="stable").astype(np.int64)


def sampled(corpus: Corpus, seed: int, most: int = PAIRS) -> Ints:
    """Numbers of the sentence pairs to learn from, ascending: all, or as many as `most` allows.

    The selection is a function of the seed.
    """
    sizes = (corpus.source_lengths + 1) * corpus.target_lengths
    if sizes.sum() <= most:
        return np.arange(len(corpus))
    order = np.random.default_rng(seed).permutation(len(corpus))
    return np.sort(order[np.cumsum(sizes[order]) <= most])


def model_one(
    corpus: Corpus, chosen: Ints, target_vocabulary: int, iterations: int = ITERATIONS
) -> Cells:
    """Train IBM Model 1 on some sentence pairs; the empty word has the id `NULL`."""
    keys_P, widths_O = _pairs(corpus, chosen, target_vocabulary)
    keys_C, cell_P = np.unique(keys_P, return_inverse=True)
    source_C, target_C = keys_C // target_vocabulary, keys_C % target_vocabulary
    del keys_P
    probs_C = np.ones(len(keys_C))
    # The pairs of an occurrence are adjacent.
    starts_O = np.cumsum(widths_O) - widths_O
    for _ in range(iterations if len(keys_C) else 0):
        shares_P = probs_C[cell_P]
        totals_O = np.add.reduceat(shares_P, starts_O)
        shares_P /= np.repeat(totals_O, widths_O)
        counts_C = np.bincount(cell_P, weights=shares_P, minlength=len(keys_C))
        sums_V = np.bincount(source_C, weights=counts_C)
        probs_C = counts_C / sums_V[source_C]
    return Cells(source_C, target_C, probs_C)


def _pairs(corpus: Corpus, chosen: Ints, target_vocabulary: int) -> tuple[Ints, Ints]:
    """source * W + target of every pair, by occurrence; the number of pairs of each, [O]."""
    widths_I = corpus.source_lengths[chosen] + 1
    counts_I = corpus.target_lengths[chosen]
    ends = np.cumsum(widths_I * counts_I)
    cuts = np.searchsorted(ends, np.arange(_CHUNK, ends[-1] if len(ends) else 0, _CHUNK))
    parts = [
        pair_keys(corpus, part, target_vocabulary)
        for part in np.split(chosen, np.unique(cuts))
        if len(part)
    ]
    keys = [keys_P for keys_P in parts if len(keys_P)]
    keys_P = np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
    return keys_P, np.repeat(widths_I, counts_I)


def pair_keys(corpus: Corpus, chosen: Ints, target_vocabulary: int) -> Ints:
    """source * W + target of every pair of a few sentences, by occurrence; of each target token the
    empty word comes last."""
    source_lengths, target_lengths = corpus.source_lengths[chosen], corpus.target_lengths[chosen]
    widths_O = np.repeat(source_lengths + 1, target_lengths)
    firsts_O = np.repeat(corpus.source_offsets[chosen], target_lengths)
    targets_O = corpus.target_values[ranges(corpus.target_offsets[chosen], target_lengths)]
    within_P = ranges(np.zeros_like(widths_O), widths_O)
    is_null_P = within_P == np.repeat(widths_O - 1, widths_O)
    places_P = np.where(is_null_P, 0, np.repeat(firsts_O, widths_O) + within_P)
    if len(corpus.source_values) == 0:
        source_P: Ints = np.full(len(places_P), NULL, dtype=np.int64)
    else:
        source_P = np.where(is_null_P, NULL, corpus.source_values[places_P].astype(np.int64))
    source_P *= target_vocabulary
    source_P += np.repeat(targets_O.astype(np.int64), widths_O)
    return source_P


def lexicon(cells: Cells, frequent: NDArray[np.int64], source_vocabulary: int) -> Lexicon:
    """The `KEPT` most probable translations of every source token; of equal ones the lower id."""
    is_kept = (cells.probs_C >= LEAST) & (cells.source_C != NULL)
    source, target, probs = (a[is_kept] for a in (cells.source_C, cells.target_C, cells.probs_C))
    order = np.lexsort((target, -probs, source))
    source, target, probs = source[order], target[order], probs[order]
    counts_V = np.bincount(source, minlength=source_vocabulary)
    rank = ranges(np.zeros_like(counts_V), counts_V)
    is_best = rank < KEPT
    tokens_VM = np.zeros((source_vocabulary, KEPT), dtype=np.int64)
    probs_VM = np.zeros((source_vocabulary, KEPT), dtype=np.float32)
    tokens_VM[source[is_best], rank[is_best]] = target[is_best]
    probs_VM[source[is_best], rank[is_best]] = probs[is_best]
    return Lexicon(frequent, tokens_VM, probs_VM)
