"""Demands of the sentences of a block, as tensors: what each hypothesis may choose next.

Dimension letters: B sentences (slots), K hypotheses per sentence, V vocabulary, P tokens of a
prefix, R sentences that enter.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import send
from s2s.search.constraints.negative import BanState
from s2s.search.constraints.positive import GoalState
from s2s.search.constraints.spec import Demand
from s2s.special import EOS, PAD

NONE = PAD
"""Stands where a prefix has no token: padding is never demanded."""


class Duties:
    """The device's side of the demands of a block."""

    def __init__(self, slots: int, width: int, device: torch.device, *, is_drawn: bool) -> None:
        """`is_drawn` says whether the hypotheses of a sentence are independent of one another."""
        self.width = width
        self.device = device
        self.is_drawn = is_drawn
        self.prefix_BP = torch.full((slots, 1), NONE, device=device)
        self.forced_steps = 0  # for so long some prefix may last
        self.longest_B = torch.ones(slots, dtype=torch.int64, device=device)
        self.is_banning_B = torch.zeros(slots, dtype=torch.bool, device=device)
        self.bans: BanState | None = None
        self.goals: GoalState | None = None

    def put(
        self, slots: NDArray[np.int64], demands: Sequence[Demand], longest: Sequence[int]
    ) -> None:
        """Sentences with these demands and most predictions enter the given slots [R]."""
        slots_R = send(torch.from_numpy(slots), self.device)
        self.longest_B[slots_R] = send(torch.tensor(longest), self.device)
        self._put_prefixes(slots_R, [demand.prefix for demand in demands])
        bans = [demand.avoid for demand in demands]
        is_banning = [ban is not None for ban in bans]
        self.is_banning_B[slots_R] = send(torch.tensor(is_banning), self.device)
        if any(is_banning):
            if self.bans is None:
                self.bans = BanState(len(self.longest_B), self.width, self.device)
            who = np.flatnonzero(is_banning)
            self.bans.put(slots[who], [ban for ban in bans if ban is not None])

        goals = [demand.must for demand in demands if demand.must is not None]
        if goals:
            assert len(goals) == len(demands), "sentences with terms have blocks of their own"
            if self.goals is None:
                self.goals = GoalState(len(self.longest_B), self.width, self.device)
            self.goals.put(slots, goals)

    def _put_prefixes(self, slots_R: Tensor, prefixes: Sequence[tuple[int, ...]]) -> None:
        self.forced_steps = max(self.forced_steps, *map(len, prefixes))
        time = max(self.prefix_BP.shape[1], 1 + max(map(len, prefixes)))
        wider_BP = torch.full((self.prefix_BP.shape[0], time), NONE, device=self.device)
        wider_BP[:, : self.prefix_BP.shape[1]] = self.prefix_BP
        rows = [[*prefix, *[NONE] * (time - len(prefix))] for prefix in prefixes]
        wider_BP[slots_R] = send(torch.tensor(rows), self.device)
        self.prefix_BP = wider_BP

    def restricted(
        self, allowed_BKV: Tensor, logits_BKV: Tensor, length_B: Tensor, is_live_BK: Tensor
    ) -> Tensor:
        """What is left of `allowed`, which is overwritten; `logits` are the model's own.

        A hypothesis that has no way on is given up; where none of its sentence has, they may end,
        and what is demanded cannot be met. While a prefix lasts, its token alone is allowed,
        whatever else is asked.
        """
        is_last_B = length_B + 1 >= self.longest_B
        if self.bans is not None:
            banned_BKV = self.bans.banned(is_last_B)
            banned_BKV &= self.is_banning_B.view(-1, 1, 1)
            allowed_BKV.masked_fill_(banned_BKV, -torch.inf)
        if self.goals is not None:
            self.goals.is_last_B1 = is_last_B.unsqueeze(1)
            allowed_BKV[..., EOS].masked_fill_(~self.goals.may_end(), -torch.inf)
        if self.bans is not None or self.goals is not None:
            is_stuck_BK = (allowed_BKV.amax(-1) == -torch.inf) & is_live_BK
            if not self.is_drawn:
                is_stuck_BK &= (is_stuck_BK | ~is_live_BK).all(-1, keepdim=True)
            ends_BK = torch.where(is_stuck_BK, logits_BKV[..., EOS], allowed_BKV[..., EOS])
            allowed_BKV[..., EOS] = ends_BK
        return self._forced(allowed_BKV, logits_BKV, length_B)

    def note(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """Hypotheses `rows` were continued by `tokens`."""
        if self.bans is not None:
            self.bans.note(rows_BK, tokens_BK)
        if self.goals is not None:
            self.goals.note(rows_BK, tokens_BK)

    def _forced(self, allowed_BKV: Tensor, logits_BKV: Tensor, length_B: Tensor) -> Tensor:
        if self.forced_steps == 0:
            return allowed_BKV
        self.forced_steps -= 1
        last = self.prefix_BP.shape[1] - 1  # where no prefix has a token
        token_B = self.prefix_BP.gather(1, length_B.clamp(max=last).unsqueeze(1)).squeeze(1)
        is_free_B = token_B == NONE
        token_BK1 = token_B.view(-1, 1, 1).expand(-1, self.width, 1)
        forced_BKV = torch.full_like(allowed_BKV, -torch.inf)
        forced_BKV.scatter_(-1, token_BK1, logits_BKV.gather(-1, token_BK1))
        return torch.where(is_free_B.view(-1, 1, 1), allowed_BKV, forced_BKV)
