"""Greedy search: the most probable token at every step."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.strategies.base import Choice, Floats, StepContext
from s2s.search.topk import first_largest
from s2s.special import EOS


@dataclass(frozen=True)
class Greedy:
    """The most probable token at every step, until it is EOS."""

    width: int = 1
    keep: int = 1
    coverage_penalty: float = 0.0
    is_sampling: bool = False

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """See `Strategy`."""
        end_BK = logits_BKV[..., EOS].clone()
        logits_BKV[..., EOS] = -torch.inf
        best_BK, tokens_BK = first_largest(logits_BKV, context.maxima_BKC)
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
