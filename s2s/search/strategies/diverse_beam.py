"""Diverse beam search (Vijayakumar et al. 2016, "Diverse beam search: decoding diverse solutions
from neural sequence models"): groups of a beam that avoid each other's tokens.

Dimension letters: B sentences, K hypotheses per sentence, k of them a group, V vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.strategies.base import Choice, Floats, StepContext
from s2s.search.strategies.beam import BeamVariant, ranks_of_ends
from s2s.search.topk import best_tokens
from s2s.special import EOS


class GroupCandidates(NamedTuple):
    """The candidates of one group."""

    logits_BkV: Tensor
    offsets_Bk: Tensor
    ends_Bk: Tensor
    """float64, totals with EOS."""
    ended_B1: Tensor
    """Number of its hypotheses that have ended before."""


@dataclass(frozen=True)
class DiverseBeam(BeamVariant):
    """G beams of K / G hypotheses, one after another at every step, each until as many have ended.

    A token that n hypotheses of earlier groups have chosen in the same step is chosen as if its
    log-probability were less by n times `diversity` (the paper's Hamming diversity; an end counts
    as a token). Diversity only affects the choice: totals and scores are the model's own.
    """

    groups: int
    diversity: float

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """See `Strategy`."""
        size = self.width // self.groups
        # Before the first token only row 0 is live, and every group starts from it.
        is_first_B1 = (context.length_B == 0).unsqueeze(1)
        offsets_BK = offsets_BK.clone()
        offsets_BK[:, ::size] = torch.where(is_first_B1, offsets_BK[:, :1], offsets_BK[:, ::size])
        ended_BG1 = context.ended_BK.view(-1, self.groups, size).sum(-1, keepdim=True)
        is_over_BK = (ended_BG1 >= size).expand(-1, -1, size).flatten(1)
        offsets_BK = offsets_BK.masked_fill(is_over_BK, -torch.inf)
        ends_BK = offsets_BK + logits_BKV[..., EOS].double()
        logits_BKV[..., EOS] = -torch.inf
        taken_BV = torch.zeros_like(logits_BKV[:, 0])
        parts = []
        for group, first in enumerate(range(0, self.width, size)):
            rows = slice(first, first + size)
            columns = logits_BKV[:, rows], offsets_BK[:, rows], ends_BK[:, rows]
            part = self._group(GroupCandidates(*columns, ended_BG1[:, group]), taken_BV)
            started = part.rows + first
            parts.append(part._replace(rows=started.masked_fill(is_first_B1, 0)))
        rows_BK, tokens_BK, totals_BK, ended_BK = (
            torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)
        )
        return Choice(rows=rows_BK, tokens=tokens_BK, totals=totals_BK, ended=ended_BK)

    def _group(self, own: GroupCandidates, taken_BV: Tensor) -> Choice:
        """The choice of one group, whose tokens are added to those `taken`."""
        logits_BkV, offsets_Bk, ends_Bk, ended_B1 = own
        penalty_BV = self.diversity * taken_BV
        seen_BkV = logits_BkV - penalty_BV.unsqueeze(1)
        best = best_tokens(seen_BkV, offsets_Bk, offsets_Bk.shape[1])
        penalized_Bk = ends_Bk - penalty_BV[:, EOS].double().unsqueeze(1)
        is_taken_Bk = ranks_of_ends(penalized_Bk, best.values) < offsets_Bk.shape[1]
        is_taken_Bk &= ends_Bk > -torch.inf
        # A group that is done after these ends continues nothing and takes no tokens.
        is_over_B1 = ended_B1 + is_taken_Bk.sum(1, keepdim=True) >= offsets_Bk.shape[1]
        is_live_Bk = (best.values > -torch.inf) & ~is_over_B1
        taken_BV.scatter_add_(1, best.tokens, is_live_Bk.to(taken_BV.dtype))
        taken_BV[:, EOS] += is_taken_Bk.sum(1)
        place_Bk = best.rows * logits_BkV.shape[-1] + best.tokens
        own_Bk = logits_BkV.flatten(1).gather(1, place_Bk).double()
        totals_Bk = offsets_Bk.gather(1, best.rows) + own_Bk
        return Choice(
            rows=best.rows,
            tokens=best.tokens,
            totals=totals_Bk.masked_fill(~is_live_Bk, -torch.inf),
            ended=ends_Bk.masked_fill(~is_taken_Bk, -torch.inf),
        )

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """See `Beam`, for one output. Of several outputs some may be equal, so there is no
        bound."""
        if self.keep == 1:
            return super().bound(totals, limits)
        return np.full_like(totals, np.inf)
