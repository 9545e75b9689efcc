"""Beam search: the k most probable prefixes at every step."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.strategies.base import Choice, Floats, StepContext
from s2s.search.topk import best_tokens
from s2s.special import EOS


@dataclass(frozen=True)
class Beam:
    """The `width` best prefixes at every step (Jurafsky & Martin, section on beam search).

    Of all continuations of a sentence's hypotheses, ends that rank among the `width` best become
    ended hypotheses; the `width` best other continuations stay in the beam. A sentence stops

    - when `width` hypotheses have ended (the textbook's rule: a longer search might still find
      a better one), or
    - when `keep` ended hypotheses score no less than `bound` (which loses nothing), or
    - at its longest output, where live hypotheses are cut; these rank below all that ended.

    Ended hypotheses rank by log_prob / lp(length)^length_penalty, EOS counted, where lp is the
    length or, with `is_gnmt`, (5 + length) / 6 (Wu et al. 2016, section 7); less
    the coverage penalty.
    """

    width: int
    length_penalty: float
    keep: int = 1
    is_gnmt: bool = False
    coverage_penalty: float = 0.0
    is_sampling: bool = False

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """See `Strategy`."""
        ends_BK = offsets_BK + logits_BKV[..., EOS].double()
        logits_BKV[..., EOS] = -torch.inf
        best = best_tokens(logits_BKV, offsets_BK, self.width, context.maxima_BKC)
        is_taken_BK = ranks_of_ends(ends_BK, best.values) < self.width
        return Choice(
            rows=best.rows,
            tokens=best.tokens,
            totals=best.values,
            ended=ends_BK.masked_fill(~is_taken_BK, -torch.inf),
        )

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """log_prob / lp(length)^length_penalty."""
        scores: Floats = log_probs / self._normalizer(lengths)
        return scores

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """See `Strategy`: total / lp(limit)^length_penalty.

        Proof: a completion has log_prob <= total <= 0, since log-probabilities are negative,
        and 1 <= length <= limit. lp grows with the length and is positive, and length_penalty >= 0,
        so a negative number is largest over the largest denominator: log_prob / lp(length)^p
        <= total / lp(length)^p <= total / lp(limit)^p. The coverage penalty only subtracts.
        """
        bounds: Floats = np.minimum(totals, 0.0) / self._normalizer(limits)
        return bounds

    def _normalizer(self, lengths: NDArray[np.int64]) -> Floats:
        base = (5.0 + lengths) / 6.0 if self.is_gnmt else lengths.astype(np.float64)
        return np.power(base, self.length_penalty, dtype=np.float64)


@dataclass(frozen=True)
class BeamVariant:
    """A strategy built around a beam, which shares its width and scores."""

    beam: Beam

    @property
    def width(self) -> int:
        """K, of all hypotheses."""
        return self.beam.width

    @property
    def keep(self) -> int:
        """See `Beam`."""
        return self.beam.keep

    @property
    def coverage_penalty(self) -> float:
        """See `Beam`."""
        return self.beam.coverage_penalty

    @property
    def is_sampling(self) -> bool:
        """False: hypotheses compete."""
        return False

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """See `Beam`."""
        return self.beam.score(log_probs, lengths)

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """See `Beam`."""
        return self.beam.bound(totals, limits)


def ranks_of_ends(ends_BK: Tensor, others_BK: Tensor) -> Tensor:
    """Rank [B, K] from 0 of each end among all ends and the K best other continuations."""
    this_BK1, ends_B1K = ends_BK.unsqueeze(-1), ends_BK.unsqueeze(1)
    row_K = torch.arange(ends_BK.shape[-1], device=ends_BK.device)
    is_lower_KK = row_K.unsqueeze(0) < row_K.unsqueeze(1)
    is_ahead_BKK = (ends_B1K > this_BK1) | ((ends_B1K == this_BK1) & is_lower_KK)
    return is_ahead_BKK.sum(-1) + (others_BK.unsqueeze(1) > this_BK1).sum(-1)
