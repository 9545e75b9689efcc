"""Dynamic beam allocation: beam search with positive lexical constraints.

Post & Vilar 2018, "Fast lexically constrained decoding with dynamic beam allocation for neural
machine translation"; grid beam search (Hokamp & Liu 2017) with a beam of one size. The beam is
divided into banks by how many tokens of the terms a hypothesis has: by probability alone
those with few would win.

Differences from the paper: terms are found in the text, so that they may overlap and contain one
another, and a term is met only where no letter follows; unused places go to the bank with the most
tokens; an end competes with the continuations of hypotheses that have met
all terms.

Dimension letters: B sentences, K hypotheses per sentence, V vocabulary, J candidates, A tokens that
advance a term, C banks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.search.constraints.positive import PositiveState
from s2s.search.strategies.base import Choice, StepContext
from s2s.search.strategies.beam import BeamVariant, ranks_of_ends
from s2s.search.topk import best_tokens
from s2s.special import EOS


class Candidates(NamedTuple):
    """Distinct continuations of a sentence's hypotheses; best first, ties as in `Strategy`."""

    rows_BJ: Tensor
    tokens_BJ: Tensor
    values_BJ: Tensor
    """float64; -inf where there is no candidate."""

    def at(self, index_BK: Tensor) -> "Candidates":
        """The candidates at these places."""
        return Candidates(*(column_BJ.gather(1, index_BK) for column_BJ in self))


@dataclass(frozen=True)
class DynamicBeamAllocation(BeamVariant):
    """A beam whose places are divided among hypotheses by their progress with the terms.

    Without terms it equals the beam.
    """

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """See `Strategy`. The end is -inf already where terms are missing."""
        assert context.constraints is not None and context.is_last_B is not None
        positive = context.constraints.state(PositiveState)
        ends_BK = offsets_BK + logits_BKV[..., EOS].double()
        logits_BKV[..., EOS] = -torch.inf
        is_done_BK = positive.progress(positive.reached) >= positive.total_B1
        done = best_tokens(logits_BKV, offsets_BK.masked_fill(~is_done_BK, -torch.inf), self.width)
        is_taken_BK = ranks_of_ends(ends_BK, done.values) < self.width
        candidates = self._candidates(
            logits_BKV, offsets_BK, positive, Candidates(done.rows, done.tokens, done.values)
        )
        progress_BJ = positive.progress(positive.after(candidates.rows_BJ, candidates.tokens_BJ))
        banks = (positive.total_B1, positive.most + 1)
        chosen_BK = allocated(candidates.values_BJ, progress_BJ, banks, self.width)
        chosen = candidates.at(chosen_BK)
        # Of outputs that are cut, only those with the most tokens of the terms stay.
        progress_BK = progress_BJ.gather(1, chosen_BK)
        progress_BK = progress_BK.masked_fill(chosen.values_BJ == -torch.inf, -1)
        is_behind_BK = progress_BK < progress_BK.amax(-1, keepdim=True)
        totals_BK = chosen.values_BJ.masked_fill(
            context.is_last_B.unsqueeze(1) & is_behind_BK, -torch.inf
        )
        return Choice(
            rows=chosen.rows_BJ,
            tokens=chosen.tokens_BJ,
            totals=totals_BK,
            ended=ends_BK.masked_fill(~is_taken_BK, -torch.inf),
        )

    def _candidates(
        self, logits_BKV: Tensor, offsets_BK: Tensor, positive: PositiveState, done: Candidates
    ) -> Candidates:
        """The best of all, each hypothesis's best, its best that completes a term and all that
        advance one; and the best of those that have met all terms."""
        best = best_tokens(logits_BKV, offsets_BK, self.width)
        row_BK = torch.arange(self.width, device=logits_BKV.device).expand_as(offsets_BK)
        own = logits_BKV.max(-1)
        whole = logits_BKV.masked_fill(~positive.completing(), -torch.inf).max(-1)
        advance_BKA = positive.advancing()
        logits_BKA = logits_BKV.gather(-1, advance_BKA.clamp(min=0))
        logits_BKA = logits_BKA.masked_fill(advance_BKA < 0, -torch.inf)
        row_BKA = row_BK.unsqueeze(-1).expand_as(advance_BKA)
        offsets_BK1 = offsets_BK.unsqueeze(-1)
        rows = (best.rows, done.rows_BJ, row_BK, row_BK, row_BKA.flatten(1))
        tokens = (
            best.tokens,
            done.tokens_BJ,
            own.indices,
            whole.indices,
            advance_BKA.clamp(min=0).flatten(1),
        )
        values = (
            best.values,
            done.values_BJ,
            offsets_BK + own.values.double(),
            offsets_BK + whole.values.double(),
            (offsets_BK1 + logits_BKA.double()).flatten(1),
        )
        return _ordered(torch.cat(rows, 1), torch.cat(tokens, 1), torch.cat(values, 1))


def _ordered(rows_BJ: Tensor, tokens_BJ: Tensor, values_BJ: Tensor) -> Candidates:
    """Candidates in order, without duplicates."""
    # A candidate of -inf must not hide its duplicate with a value, so it goes last.
    is_none_BJ = values_BJ == -torch.inf
    most = 1 << 31
    key_BJ = (rows_BJ * most + tokens_BJ).masked_fill(is_none_BJ, torch.iinfo(torch.int64).max)
    key_BJ, order_BJ = key_BJ.sort(dim=-1, stable=True)
    values_BJ = values_BJ.gather(1, order_BJ)
    is_again_BJ = torch.zeros_like(is_none_BJ)
    is_again_BJ[:, 1:] = key_BJ[:, 1:] == key_BJ[:, :-1]
    values_BJ = values_BJ.masked_fill(is_again_BJ, -torch.inf)
    values_BJ, by_value_BJ = values_BJ.sort(dim=-1, descending=True, stable=True)
    order_BJ = order_BJ.gather(1, by_value_BJ)
    return Candidates(rows_BJ.gather(1, order_BJ), tokens_BJ.gather(1, order_BJ), values_BJ)


def allocated(values_BJ: Tensor, bank_BJ: Tensor, totals: tuple[Tensor, int], width: int) -> Tensor:
    """Places [B, K] of the candidates that stay, in order; J is at least K.

    `values` are sorted, best first; `totals` are each sentence's total [B, 1] and a number above
    all of them. Banks 0 to total get K / (total + 1) places each; the last banks share the
    remainder. Places that a bank does not use go to the bank with the most tokens.
    """
    count = values_BJ.shape[1]
    total_B1, banks = totals
    share_B1 = width // (total_B1 + 1)
    extra_B1 = width - share_B1 * (total_B1 + 1)
    places_BJ = share_B1 + (bank_BJ > total_B1 - extra_B1)
    is_real_BJ = values_BJ > -torch.inf
    bank_C = torch.arange(banks, device=values_BJ.device)
    of_bank_BJC = (bank_BJ.unsqueeze(-1) == bank_C) & is_real_BJ.unsqueeze(-1)
    rank_BJ = of_bank_BJC.cumsum(1).gather(-1, bank_BJ.unsqueeze(-1)).squeeze(-1) - 1
    place_BJ = torch.arange(count, device=values_BJ.device).expand_as(bank_BJ)
    spare_BJ = (1 + banks - bank_BJ) * count + place_BJ
    key_BJ = torch.where(rank_BJ < places_BJ, place_BJ, spare_BJ)
    key_BJ = torch.where(is_real_BJ, key_BJ, (banks + 3) * count + place_BJ)
    chosen_BK = key_BJ.argsort(dim=-1, stable=True)[:, :width]
    return chosen_BK.sort(dim=-1).values
