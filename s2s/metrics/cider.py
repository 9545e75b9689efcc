"""CIDEr-D: similarity of tf-idf vectors of n-grams between outputs and references.

Dimension letters: N lines, T texts, P places in them, E different n-grams of a text, M outputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import Additive, References, Resampling, mean, write_signature
from s2s.metrics.document_frequencies import DocumentFrequencies
from s2s.metrics.tokenize import WordSplitter, read_words
from s2s.recipe.scoring import Scoring
from s2s.version import __version__

ORDERS = 4
"""Largest order of n-grams; all orders have the same weight."""

SIGMA = 6.0
"""Standard deviation of the length penalty, in words."""

SCALE = 1000.0
"""The factor 10 of paper and code, times 100 as tables print it."""

Numbers = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Cider:
    """CIDEr-D (Vedantam et al. 2015, section 4.1) with the choices of the coco-caption code.

    The similarity of an output and a reference is the cosine of their tf-idf vectors, with the
    output's counts clipped to the reference's, times a Gaussian penalty on the difference of their
    lengths. It is averaged over orders of n-grams, references and lines. As in the code, the length
    is the number of bigrams, and an n-gram of no reference weighs as much as one of a single line.
    """

    words: WordSplitter
    frequencies: DocumentFrequencies | None = None
    """Document frequencies; None for those of the references that outputs are compared with."""

    def with_frequencies_of(self, references: References) -> "Cider":
        """The metric with the document frequencies of other references, whatever is measured."""
        return replace(self, frequencies=DocumentFrequencies(self.words, references, ORDERS))

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`. Document frequencies are those of all references, or fixed ones."""
        num_lines = len(references)
        counts_N = np.array([len(options) for options in references])
        # Texts are the lines of all outputs, then all references.
        lines_T = np.concatenate(
            [np.tile(np.arange(num_lines), len(outputs)), np.repeat(np.arange(num_lines), counts_N)]
        )
        num_said = len(outputs) * num_lines
        texts = [self.words(text) for text in chain(*outputs, *references)]
        lengths_T = np.array([max(len(words) - 1, 0) for words in texts])
        similar_MT = np.zeros((len(outputs), len(texts)))
        fixed = repeat(None) if self.frequencies is None else self.frequencies.of(texts)
        for (text_P, gram_P), frequency_P in zip(_ngrams(texts), fixed, strict=False):
            if frequency_P is None or self.frequencies is None:
                idf_G = _idf(text_P, gram_P, lines_T, num_said)
            else:
                frequency_G = np.zeros(int(gram_P.max(initial=0)) + 1, dtype=np.int64)
                frequency_G[gram_P] = frequency_P
                idf_G = _weights(frequency_G, self.frequencies.documents)
            vectors = _vectors(text_P, gram_P, len(texts), idf_G)
            for number in range(len(outputs)):
                output_T = lines_T + number * num_lines
                delta_T = lengths_T - lengths_T[output_T]
                penalty_T = np.exp(-(delta_T**2) / (2 * SIGMA**2))
                similar_MT[number] += penalty_T * vectors.cosines(output_T)
        rows = [np.bincount(lines_T[num_said:], row[num_said:], num_lines) for row in similar_MT]
        values = np.concatenate([SCALE / ORDERS * row / counts_N for row in rows])
        return Additive(np.stack([np.ones_like(values), values], axis=1), mean)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`."""
        idf = "references" if self.frequencies is None else "fixed"
        details = [*self.words.details, f"n:{ORDERS}", f"sigma:{SIGMA:g}", f"idf:{idf}"]
        details.append(f"scale:{SCALE:g}")
        return write_signature(nrefs, resampling, details, f"s2s-{__version__}")


@dataclass(frozen=True)
class _Vectors:
    """The tf-idf vectors of texts for n-grams of one order, as a sparse matrix."""

    keys_E: Numbers
    """Text times `num_grams` plus n-gram, ascending."""
    weights_E: Weights
    num_grams: int
    norms_T: Weights

    def cosines(self, output_T: Numbers) -> Weights:
        """Cosines [T] of each text and the text `output_T` names, whose counts are clipped."""
        text_E, gram_E = np.divmod(self.keys_E, self.num_grams)
        wanted_E = output_T[text_E] * self.num_grams + gram_E
        places_E = np.minimum(np.searchsorted(self.keys_E, wanted_E), len(self.keys_E) - 1)
        clipped_E = np.minimum(self.weights_E[places_E], self.weights_E)
        products_E = np.where(self.keys_E[places_E] == wanted_E, clipped_E * self.weights_E, 0.0)
        dots_T = np.bincount(text_E, products_E, len(output_T))
        norms_T = self.norms_T * self.norms_T[output_T]
        return np.divide(dots_T, norms_T, out=np.zeros(len(norms_T)), where=norms_T > 0)


def _idf(text_P: Numbers, gram_P: Numbers, lines_T: Numbers, num_said: int) -> Weights:
    """Inverse document frequencies in the references, the texts from `num_said` on."""
    num_grams, num_lines = int(gram_P.max(initial=0)) + 1, int(lines_T.max()) + 1
    is_wanted_P = text_P >= num_said
    documents = np.unique(lines_T[text_P[is_wanted_P]] * num_grams + gram_P[is_wanted_P])
    return _weights(np.bincount(documents % num_grams, minlength=num_grams), num_lines)


def _weights(frequencies_G: Numbers, documents: int) -> Weights:
    """Inverse document frequencies; an n-gram of no document weighs as one of a single one."""
    weights: Weights = np.log(documents) - np.log(np.maximum(frequencies_G, 1))
    return weights


def _vectors(text_P: Numbers, gram_P: Numbers, num_texts: int, idf_G: Weights) -> _Vectors:
    """Vectors of all texts, by the inverse document frequencies of n-grams."""
    num_grams = len(idf_G)
    keys_E, counts_E = np.unique(text_P * num_grams + gram_P, return_counts=True)
    text_E, gram_E = np.divmod(keys_E, num_grams)
    weights_E = counts_E * idf_G[gram_E]
    norms_T = np.sqrt(np.bincount(text_E, weights_E**2, num_texts))
    return _Vectors(keys_E, weights_E, num_grams, norms_T)


def _ngrams(texts: Sequence[Sequence[str]]) -> Iterator[tuple[Numbers, Numbers]]:
    """For each order, the text and the number of every n-gram; equal n-grams have one number."""
    numbers: dict[str, int] = {}
    words_P = np.array(
        [numbers.setdefault(word, len(numbers)) for text in texts for word in text], dtype=np.int64
    )
    text_P = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    begins, grams = np.arange(len(words_P)), words_P
    for order in range(1, ORDERS + 1):
        if order > 1:
            ends = begins + order - 1
            is_whole = ends < len(words_P)
            is_whole[is_whole] = text_P[ends[is_whole]] == text_P[begins[is_whole]]
            longer = grams[is_whole] * len(numbers) + words_P[ends[is_whole]]
            begins, grams = begins[is_whole], np.unique(longer, return_inverse=True)[1]
        yield text_P[begins], grams


def build_cider(scoring: Scoring) -> Cider:
    """CIDEr-D. Raises UsageError for a tokenization without its package."""
    return Cider(read_words(scoring))
