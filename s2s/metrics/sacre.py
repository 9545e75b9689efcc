"""BLEU and chrF as sacrebleu computes them (Post 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.metrics.metric import Additive, Figure, References, Resampling


@dataclass(frozen=True)
class SacreMetric:
    """One of sacrebleu's metrics: its statistics, its formula, its signature."""

    figures: tuple[Figure, ...]
    metric: Any
    """A `sacrebleu.metrics.base.Metric`."""
    sentence: Any
    """The one that scores a line by itself: BLEU is then of effective order."""

    def measure(self, hypotheses: Sequence[str], references: References) -> Additive:
        """See `Metric`."""
        # Complete sets of lines are what sacrebleu reads, with None where an item has fewer.
        sets = list(zip_longest(*references))
        rows = self.metric._extract_corpus_statistics(hypotheses, sets)
        return Additive(np.array(rows, dtype=np.float64), self._total, self._single)

    def signature(self, nrefs: str, resampling: Resampling | None) -> str:
        """See `Metric`; `nrefs` is what sacrebleu has counted itself."""
        signature = self.metric.get_signature()
        if resampling is not None:
            signature.update(resampling.sign, resampling.samples)
            signature.update("seed", resampling.seed)
        return str(signature)

    def _total(self, row_K: NDArray[np.float64]) -> tuple[float, ...]:
        return (float(self.metric._compute_score_from_stats(row_K.tolist()).score),)

    def _single(self, row_K: NDArray[np.float64]) -> tuple[float, ...]:
        return (float(self.sentence._compute_score_from_stats(row_K.tolist()).score),)


def build_bleu(tokenize: str, lowercase: bool) -> SacreMetric:
    """BLEU (Papineni et al. 2002). Raises UsageError for a tokenization that lacks its package."""
    from sacrebleu.metrics.bleu import BLEU

    try:
        metric = BLEU(tokenize=tokenize, lowercase=lowercase)
        # A line seldom has matches of all four orders; sacrebleu's sentence_bleu does this too.
        sentence = BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=True)
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"tokenize '{tokenize}' cannot be used: {reason}") from error
    return SacreMetric((Figure("bleu", "BLEU"),), metric, sentence)


def build_chrf(lowercase: bool) -> SacreMetric:
    """ChrF2 (Popović 2016)."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(lowercase=lowercase)
    return SacreMetric((Figure("chrf", "chrF2"),), metric, metric)


def word_splitter(tokenize: str) -> Any:
    """A tokenization of sacrebleu as a function from text to words with spaces between them."""
    return build_bleu(tokenize, False).metric.tokenizer
