"""BLEU and chrF as sacrebleu computes them (Post 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.base import Additive, References, Resampling, paired
from s2s.metrics.tokenize import WordSplitter, read_words
from s2s.recipe.scoring import Scoring

ORDERS = 4
"""Largest order of BLEU's n-grams."""


@dataclass(frozen=True)
class SacreMetric:
    """A metric of sacrebleu: its statistics, its formula, its signature."""

    metric: Any
    """A `sacrebleu.metrics.base.Metric`."""
    sentence: Any
    """The same for single lines: BLEU with effective order, other metrics unchanged."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        return Additive(_statistics(self.metric, outputs, references), self._total, self._single)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`; sacrebleu counts `nrefs` itself."""
        return _signature(self.metric, resampling)

    def _total(self, row_K: NDArray[np.float64]) -> tuple[float, ...]:
        return (float(self.metric._compute_score_from_stats(row_K.tolist()).score),)

    def _single(self, row_K: NDArray[np.float64]) -> tuple[float, ...]:
        return (float(self.sentence._compute_score_from_stats(row_K.tolist()).score),)


@dataclass(frozen=True)
class BleuOfOrders:
    """BLEU-1 to BLEU-4, each the geometric mean of the precisions up to its order."""

    metric: Any
    """BLEU of order 4, whose counts include those of lower orders."""
    orders: tuple[Any, ...]
    """BLEU of each order."""
    sentences: tuple[Any, ...]
    """BLEU of each order for single lines."""

    def measure(self, outputs: Sequence[Sequence[str]], references: References) -> Additive:
        """See `Metric`."""
        return Additive(_statistics(self.metric, outputs, references), self._total, self._single)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`: that of BLEU, which does not name the order; the label does."""
        return _signature(self.metric, resampling)

    def _total(self, row_K: NDArray[np.float64]) -> tuple[float, ...]:
        return _of_orders(self.orders, row_K.tolist())

    def _single(self, row_K: NDArray[np.float64]) -> tuple[float, ...]:
        return _of_orders(self.sentences, row_K.tolist())


def _of_orders(orders: Sequence[Any], row: list[float]) -> tuple[float, ...]:
    """BLEU of each order, from the lengths, matches and totals of order 4."""
    lengths, matches, totals = row[:2], row[2 : 2 + ORDERS], row[2 + ORDERS :]
    return tuple(
        float(one._compute_score_from_stats([*lengths, *matches[:order], *totals[:order]]).score)
        for order, one in enumerate(orders, start=1)
    )


def _statistics(
    metric: Any, outputs: Sequence[Sequence[str]], references: References
) -> NDArray[np.float64]:
    hypotheses, wanted = paired(outputs, references)
    # sacrebleu reads complete sets of lines, with None if a line has fewer references.
    sets = list(zip_longest(*wanted))
    return np.array(metric._extract_corpus_statistics(hypotheses, sets), dtype=np.float64)


def _signature(metric: Any, resampling: Resampling | None) -> str:
    signature = metric.get_signature()
    if resampling is not None:
        signature.update(resampling.sign, resampling.samples)
        signature.update("seed", resampling.seed)
    return str(signature)


def build_bleu(scoring: Scoring) -> SacreMetric:
    """BLEU (Papineni et al. 2002). Raises UsageError for a tokenization without its package."""
    words = read_words(scoring)
    # Few lines have matches of all four orders; sentence_bleu of sacrebleu does this too.
    sentence = _bleu(words, effective_order=True)
    return SacreMetric(_bleu(words), sentence)


def build_bleu_of_orders(scoring: Scoring) -> BleuOfOrders:
    """BLEU-1 to BLEU-4, as captions are scored. Raises UsageError as `build_bleu` does."""
    words = read_words(scoring)
    orders = range(1, ORDERS + 1)
    return BleuOfOrders(
        _bleu(words),
        tuple(_bleu(words, max_ngram_order=order) for order in orders),
        tuple(_bleu(words, max_ngram_order=order, effective_order=True) for order in orders),
    )


def build_chrf(scoring: Scoring) -> SacreMetric:
    """ChrF2 (Popović 2016)."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(lowercase=scoring.lowercase)
    return SacreMetric(metric, metric)


def _bleu(words: WordSplitter, **options: Any) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(lowercase=words.lowercase, tokenize="none", **options)
    metric.tokenizer, metric.tokenizer_signature = words.split, words.name
    return metric
