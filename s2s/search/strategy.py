"""Strategies: which continuations live, which hypotheses end, how the ended ones rank.

The tie rule of every strategy: of equal values an end ranks ahead of a continuation, then the
lower row, then the lower token id.

Dimension letters: B sentences, K hypotheses per sentence, V vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.goals import GoalState
from s2s.search.top import best_tokens, first_largest
from s2s.text.special import EOS

Floats = NDArray[np.float64]


class Choice(NamedTuple):
    """What one step decides. A row with total -inf is dead: nothing continues it."""

    rows: Tensor
    """int64 [B, K], which hypothesis 0..K-1 each live one continues."""
    tokens: Tensor
    """int64 [B, K], by which token; never EOS."""
    totals: Tensor
    """float64 [B, K], log-probability of each live hypothesis."""
    ended: Tensor
    """float64 [B, K], log-probability of hypothesis k with EOS where it ends here, else -inf."""


class Moment(NamedTuple):
    """Who is being decided about, for strategies that have to know."""

    place_B: Tensor
    """int64 [B], each sentence's own number, the same in whatever company it is searched."""
    length_B: Tensor
    """int64 [B], predictions its live hypotheses have made so far."""
    ended_BK: Tensor
    """int64 [B, K], how many hypotheses have ended in each row so far."""
    goals: GoalState | None = None
    """Where they stand with terms that must appear, if any must."""
    maxima_BKC: Tensor | None = None
    """The largest logit of every chunk of tokens but the first (`top.digest`), where logits are as
    the model has them."""


class Strategy(Protocol):
    """How to decode, as the loop sees it. Every sentence is decided by itself."""

    @property
    def width(self) -> int:
        """K, hypotheses per sentence. A sentence is done when as many have ended."""
        ...

    @property
    def keep(self) -> int:
        """How many of the best hypotheses are wanted, at most `width`."""
        ...

    @property
    def coverage_penalty(self) -> float:
        """Weight of the coverage penalty, which the ledger takes off scores; 0 for none."""
        ...

    @property
    def is_drawn(self) -> bool:
        """Whether row k is draw k: it continues itself alone, and comes back k-th, not ranked."""
        ...

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, moment: Moment) -> Choice:
        """Decide a step: the total of continuing row k by token v is logits[k, v] + offsets[k].

        The offset is the row's total less the logarithm of its normalizer. PAD and BOS are -inf
        already. The logits may be overwritten.
        """
        ...

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """What ranks ended hypotheses; `lengths` count EOS."""
        ...

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """No completion of a hypothesis of this total, at most `limit` long, scores above this."""
        ...


@dataclass(frozen=True)
class Greedy:
    """The most probable token at every step, until it is EOS."""

    width: int = 1
    keep: int = 1
    coverage_penalty: float = 0.0
    is_drawn: bool = False

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, moment: Moment) -> Choice:
        """See `Strategy`."""
        end_BK = logits_BKV[..., EOS].clone()
        logits_BKV[..., EOS] = -torch.inf
        best_BK, tokens_BK = first_largest(logits_BKV, moment.maxima_BKC)
        is_end_BK = end_BK >= best_BK
        totals_BK = offsets_BK + best_BK.double()
        ends_BK = offsets_BK + end_BK.double()
        return Choice(
            rows=torch.zeros_like(tokens_BK),
            tokens=tokens_BK,
            totals=totals_BK.masked_fill(is_end_BK, -torch.inf),
            ended=ends_BK.masked_fill(~is_end_BK, -torch.inf),
        )

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """The log-probability: there is nothing to rank."""
        return log_probs

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """See `Strategy`."""
        return totals


@dataclass(frozen=True)
class Beam:
    """The `width` best prefixes at every step (Jurafsky & Martin, section on beam search).

    Of all continuations of a sentence's hypotheses, ends included, those ends that rank among the
    `width` best are taken; the `width` best others live on. A sentence stops

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
    is_drawn: bool = False

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, moment: Moment) -> Choice:
        """See `Strategy`."""
        ends_BK = offsets_BK + logits_BKV[..., EOS].double()
        logits_BKV[..., EOS] = -torch.inf
        best = best_tokens(logits_BKV, offsets_BK, self.width, moment.maxima_BKC)
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

        Proof: a completion has log_prob <= total <= 0, for log-probabilities only add up to less,
        and 1 <= length <= limit. lp grows with the length and is positive, and length_penalty >= 0,
        so the largest denominator brings a negative number closest to zero: log_prob / lp(length)^p
        <= total / lp(length)^p <= total / lp(limit)^p. The coverage penalty only takes away.
        """
        bounds: Floats = np.minimum(totals, 0.0) / self._normalizer(limits)
        return bounds

    def _normalizer(self, lengths: NDArray[np.int64]) -> Floats:
        base = (5.0 + lengths) / 6.0 if self.is_gnmt else lengths.astype(np.float64)
        return np.power(base, self.length_penalty, dtype=np.float64)


@dataclass(frozen=True)
class AroundBeam:
    """What a strategy takes over from the beam it is built around."""

    beam: Beam

    @property
    def width(self) -> int:
        """K, of all hypotheses."""
        return self.beam.width

    @property
    def keep(self) -> int:
        """As of the beam."""
        return self.beam.keep

    @property
    def coverage_penalty(self) -> float:
        """As of the beam."""
        return self.beam.coverage_penalty

    @property
    def is_drawn(self) -> bool:
        """Hypotheses compete."""
        return False

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """As of the beam."""
        return self.beam.score(log_probs, lengths)

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """As of the beam."""
        return self.beam.bound(totals, limits)


def ranks_of_ends(ends_BK: Tensor, others_BK: Tensor) -> Tensor:
    """Rank [B, K] from 0 of each end among all ends and the K best other continuations."""
    this_BK1, ends_B1K = ends_BK.unsqueeze(-1), ends_BK.unsqueeze(1)
    row_K = torch.arange(ends_BK.shape[-1], device=ends_BK.device)
    is_lower_KK = row_K.unsqueeze(0) < row_K.unsqueeze(1)
    is_ahead_BKK = (ends_B1K > this_BK1) | ((ends_B1K == this_BK1) & is_lower_KK)
    return is_ahead_BKK.sum(-1) + (others_BK.unsqueeze(1) > this_BK1).sum(-1)
