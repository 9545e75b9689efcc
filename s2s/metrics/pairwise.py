"""Metrics of every text of a group against every other, for minimum Bayes risk decoding.

Each value is what the metric of the same name gives for one line with one reference, in per cent;
error rates count as 100 minus the rate, so that higher is better.

Dimension letters: N texts of a group; row i is the output, column j the reference. K orders.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.bleu_chrf import ORDERS, build_bleu, build_chrf
from s2s.metrics.ngram_matches import Matches, ngram_matches
from s2s.metrics.rouge import token_splitter
from s2s.recipe.choices import UtilityName
from s2s.recipe.scoring import Scoring
from s2s.spaces import split_words

Floats = NDArray[np.float64]

Groups = Sequence[Sequence[str]]

Utility = Callable[[Groups], list[Floats]]
"""Values [N, N] of each group of texts."""

SURROGATES = (0xD800, 0x800)
"""The first code point that no text has, and the number of them."""


@cache
def build_utility(names: tuple[UtilityName, ...], scoring: Scoring) -> Utility:
    """The mean of the utilities of these names.

    Raises UsageError for a tokenization without its package.
    """
    utilities = [_build(name, scoring) for name in names]

    def mean(groups: Groups) -> list[Floats]:
        found = [utility(groups) for utility in utilities]
        several = (np.stack(values).mean(axis=0) for values in zip(*found, strict=True))
        return found[0] if len(found) == 1 else list(several)

    return mean


def _build(name: UtilityName, scoring: Scoring) -> Utility:
    match name:
        case "chrf":
            return _chrf(scoring)
        case "bleu":
            return _bleu(scoring)
        case "rouge":
            return _rouge(scoring)
        case "exact":
            return _each(_exact, str.lower if scoring.lowercase else str)
        case "wer" | "per" | "cer":
            split = _Split(scoring.lowercase, of_characters=name == "cer")
            return _each(_error_free, split)


class _Split:
    """The tokens of the error rates."""

    def __init__(self, lowercase: bool, of_characters: bool) -> None:
        self.lowercase = lowercase
        self.of_characters = of_characters

    def __call__(self, text: str) -> Sequence[str]:
        folded = text.lower() if self.lowercase else text
        return folded if self.of_characters else split_words(folded)


def _each(compare: Callable[[list[Any]], Floats], read: Callable[[str], Any]) -> Utility:
    """The utility that compares the texts of each group by itself, as `read` reads them."""
    return lambda groups: [compare([read(text) for text in group]) for group in groups]


def _chrf(scoring: Scoring) -> Utility:
    metric = build_chrf(scoring).metric

    def utility(groups: Groups) -> list[Floats]:
        codes = [
            [_codes("".join(metric._preprocess_segment(text).split())) for text in group]
            for group in groups
        ]
        return [_chrf_of(found, metric.beta) for found in ngram_matches(codes, metric.char_order)]

    return utility


def _chrf_of(found: Matches, beta: float) -> Floats:
    """The F score of the means of precision and recall over the orders that both texts have."""
    shape = found.common_KNN.shape[1:]
    precision, recall, orders = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for order, common_NN in enumerate(found.common_KNN, start=1):
        totals = found.totals(order)
        is_counted = (totals[:, None] > 0) & (totals > 0)
        precision += np.where(is_counted, common_NN / np.maximum(totals, 1)[:, None], 0.0)
        recall += np.where(is_counted, common_NN / np.maximum(totals, 1), 0.0)
        orders += is_counted
    precision /= np.maximum(orders, 1)
    recall /= np.maximum(orders, 1)
    factor = beta**2
    weighted = factor * precision + recall
    return 100 * (1 + factor) * precision * recall / np.where(weighted > 0, weighted, 1.0)


def _bleu(scoring: Scoring) -> Utility:
    metric = build_bleu(scoring).sentence

    def utility(groups: Groups) -> list[Floats]:
        words = [[metric._preprocess_segment(text).split() for text in group] for group in groups]
        return list(map(_bleu_of, ngram_matches(_numbered(words), ORDERS)))

    return utility


def _bleu_of(found: Matches) -> Floats:
    """BLEU of a sentence: the orders it has, and NIST's smoothing of those without matches."""
    lengths = found.lengths_N.astype(np.float64)
    shape = found.common_KNN.shape[1:]
    log_precision, halvings = np.zeros(shape), np.zeros(shape)
    for order, common_NN in enumerate(found.common_KNN, start=1):
        totals = found.totals(order)[:, None]
        halvings += (common_NN == 0) & (totals > 0)
        smoothed = np.where(common_NN > 0, common_NN, 0.5**halvings)
        log_precision += np.where(totals > 0, np.log(smoothed / np.maximum(totals, 1)), 0.0)
    orders = np.clip(lengths, 1, ORDERS)[:, None]
    brevity = np.minimum(0.0, 1.0 - lengths / np.maximum(lengths, 1)[:, None])
    has_match = found.common_KNN.any(axis=0)
    return np.where(has_match, 100.0 * np.exp(brevity + log_precision / orders), 0.0)


def _rouge(scoring: Scoring) -> Utility:
    split = token_splitter(scoring)

    def utility(groups: Groups) -> list[Floats]:
        words = [[split(text) for text in group] for group in groups]
        numbered = _numbered(words)
        pairs = zip(ngram_matches(numbered, 2), numbered, strict=True)
        return [(_rouge_n(found) + _rouge_l(ids)) / 3 for found, ids in pairs]

    return utility


def _rouge_n(found: Matches) -> Floats:
    """The sum of ROUGE-1 and ROUGE-2."""
    one, two = (
        _f1(common_NN, found.totals(order))
        for order, common_NN in enumerate(found.common_KNN, start=1)
    )
    return one + two


def _rouge_l(texts: Sequence[NDArray[np.int64]]) -> Floats:
    """ROUGE-L, of the longest common subsequences."""
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cdist

    spelled = list(map(_spelled, texts))
    common = cdist(spelled, spelled, scorer=LCSseq.similarity, dtype=np.int32)
    return _f1(common.astype(np.float64), np.array([len(text) for text in texts]))


def _f1(common_NN: Floats, totals_N: NDArray[np.int64]) -> Floats:
    """F1 in per cent, of precision and recall that are 0 without tokens."""
    precision = common_NN / np.maximum(totals_N, 1)[:, None]
    recall = common_NN / np.maximum(totals_N, 1)
    both = precision + recall
    return 200.0 * precision * recall / np.where(both > 0, both, 1.0)


def _error_free(texts: list[Sequence[str]]) -> Floats:
    """100 minus the edits per hundred tokens of the reference."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    spelled = list(map(_spelled, _numbered([texts])[0]))
    edits = cdist(spelled, spelled, scorer=Levenshtein.distance, dtype=np.int32)
    lengths = np.array([len(text) for text in texts])
    rates = np.where(lengths > 0, edits / np.maximum(lengths, 1), edits > 0)
    return 100.0 - 100.0 * rates


def _exact(texts: list[str]) -> Floats:
    """100 for equal texts, otherwise 0."""
    first: dict[str, int] = {}
    numbers = np.array([first.setdefault(text, len(first)) for text in texts], dtype=np.int64)
    return np.where(numbers[:, None] == numbers, 100.0, 0.0)


def _codes(text: str) -> NDArray[np.int64]:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)


def _numbered(groups: Sequence[Sequence[Sequence[str]]]) -> list[list[NDArray[np.int64]]]:
    """Tokens as numbers, which count from 0 in each group."""
    found = []
    for group in groups:
        numbers: dict[str, int] = {}
        found.append(
            [
                np.array([numbers.setdefault(t, len(numbers)) for t in text], dtype=np.int64)
                for text in group
            ]
        )
    return found


def _spelled(numbers: NDArray[np.int64]) -> str:
    """Numbers as a text of as many characters, which compares faster than a list."""
    first, count = SURROGATES
    shifted = numbers + count * (numbers >= first)
    return shifted.astype("<u4").tobytes().decode("utf-32-le")
