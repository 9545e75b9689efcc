"""Demands of the sentences of a block, as tensors: what each hypothesis may choose next.

Dimension letters: B sentences (slots), K hypotheses per sentence, V vocabulary, P tokens of a
prefix, R sentences that enter.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.negative import NegativeState
from s2s.search.constraints.positive import PositiveState
from s2s.search.constraints.spec import ConstraintSpec
from s2s.special import EOS, PAD

NONE = PAD
"""Stands where a prefix has no token: padding is never demanded."""


class ConstraintState:
    """The device's side of the demands of a block."""

    def __init__(self, slots: int, width: int, device: torch.device, *, is_sampling: bool) -> None:
        """`is_sampling`: whether the hypotheses of a sentence are independent of one another."""
        self.width = width
        self.device = device
        self.is_sampling = is_sampling
        self.prefix_BP = torch.full((slots, 1), NONE, device=device)
        self.forced_steps = 0  # for so long some prefix may last
        self.longest_B = torch.ones(slots, dtype=torch.int64, device=device)
        self.is_banning_B = torch.zeros(slots, dtype=torch.bool, device=device)
        self.negative: NegativeState | None = None
        self.positive: PositiveState | None = None

    def put(
        self,
        slots: NDArray[np.int64],
        constraints: Sequence[ConstraintSpec],
        longest: Sequence[int],
    ) -> None:
        """Sentences with these demands and most predictions enter the given slots [R]."""
        slots_R = to_device(torch.from_numpy(slots), self.device)
        self.longest_B[slots_R] = to_device(torch.tensor(longest), self.device)
        self._put_prefixes(slots_R, [constraint.prefix for constraint in constraints])
        negative = [constraint.avoid for constraint in constraints]
        is_banning = [ban is not None for ban in negative]
        self.is_banning_B[slots_R] = to_device(torch.tensor(is_banning), self.device)
        if any(is_banning):
            if self.negative is None:
                self.negative = NegativeState(len(self.longest_B), self.width, self.device)
            who = np.flatnonzero(is_banning)
            self.negative.put(slots[who], [ban for ban in negative if ban is not None])

        positive = [constraint.must for constraint in constraints if constraint.must is not None]
        if positive:
            assert len(positive) == len(constraints), (
                "sentences with terms have blocks of their own"
            )
            if self.positive is None:
                self.positive = PositiveState(len(self.longest_B), self.width, self.device)
            self.positive.put(slots, positive)

    def _put_prefixes(self, slots_R: Tensor, prefixes: Sequence[tuple[int, ...]]) -> None:
        self.forced_steps = max(self.forced_steps, *map(len, prefixes))
        time = max(self.prefix_BP.shape[1], 1 + max(map(len, prefixes)))
        wider_BP = torch.full((self.prefix_BP.shape[0], time), NONE, device=self.device)
        wider_BP[:, : self.prefix_BP.shape[1]] = self.prefix_BP
        rows = [[*prefix, *[NONE] * (time - len(prefix))] for prefix in prefixes]
        wider_BP[slots_R] = to_device(torch.tensor(rows), self.device)
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
        if self.negative is not None:
            banned_BKV = self.negative.banned(is_last_B)
            banned_BKV &= self.is_banning_B.view(-1, 1, 1)
            allowed_BKV.masked_fill_(banned_BKV, -torch.inf)
        if self.positive is not None:
            self.positive.is_last_B1 = is_last_B.unsqueeze(1)
            allowed_BKV[..., EOS].masked_fill_(~self.positive.may_end(), -torch.inf)
        if self.negative is not None or self.positive is not None:
            is_stuck_BK = (allowed_BKV.amax(-1) == -torch.inf) & is_live_BK
            if not self.is_sampling:
                is_stuck_BK &= (is_stuck_BK | ~is_live_BK).all(-1, keepdim=True)
            ends_BK = torch.where(is_stuck_BK, logits_BKV[..., EOS], allowed_BKV[..., EOS])
            allowed_BKV[..., EOS] = ends_BK
        return self._forced(allowed_BKV, logits_BKV, length_B)

    def note(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """Hypotheses `rows` were continued by `tokens`."""
        if self.negative is not None:
            self.negative.note(rows_BK, tokens_BK)
        if self.positive is not None:
            self.positive.note(rows_BK, tokens_BK)

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
