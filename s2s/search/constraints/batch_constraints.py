"""The constraints of a decoding batch, of every kind.

Dimension letters: B sentences (slots), K hypotheses per sentence, V vocabulary, R sentences that
enter.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.base import Constraint, ConstraintState, ConstraintStep
from s2s.search.constraints.kinds import KINDS
from s2s.search.constraints.spec import ConstraintSpec
from s2s.special import EOS

T = TypeVar("T")


class BatchConstraints:
    """Restricts the logits of a decoding batch by the constraints of its sentences."""

    def __init__(self, slots: int, width: int, device: torch.device, *, is_sampling: bool) -> None:
        """`is_sampling`: whether the hypotheses of a sentence are independent of one another."""
        self.slots = slots
        self.width = width
        self.device = device
        self.is_sampling = is_sampling
        self.longest_B = torch.ones(slots, dtype=torch.int64, device=device)
        self.states: dict[type[Constraint], ConstraintState[Any]] = {}
        self.applies: dict[type[Constraint], Tensor] = {}
        """By kind, bool [B]: whether a sentence has such a constraint."""

    def put(
        self, slots: NDArray[np.int64], specs: Sequence[ConstraintSpec], longest: Sequence[int]
    ) -> None:
        """Sentences with these constraints and most predictions enter the given slots [R]."""
        slots_R = to_device(torch.from_numpy(slots), self.device)
        self.longest_B[slots_R] = to_device(torch.tensor(longest), self.device)
        for kind, state in KINDS.items():
            found = [spec.of_kind(kind) for spec in specs]
            has_one = [one is not None for one in found]
            if any(has_one) and kind not in self.states:
                self.states[kind] = state(self.slots, self.width, self.device)
                self.applies[kind] = torch.zeros(self.slots, dtype=torch.bool, device=self.device)
            if kind in self.states:
                self.applies[kind][slots_R] = to_device(torch.tensor(has_one), self.device)
            if any(has_one):
                who = np.flatnonzero(has_one)
                self.states[kind].put(slots[who], [one for one in found if one is not None])

    def state(self, kind: type[T]) -> T:
        """The state of this class, of which the sentences have constraints."""
        return next(one for one in self.states.values() if isinstance(one, kind))

    def is_last(self, length_B: Tensor) -> Tensor:
        """bool [B], whether an output is cut after the next token."""
        return length_B + 1 >= self.longest_B

    def restricted(
        self, allowed_BKV: Tensor, logits_BKV: Tensor, length_B: Tensor, is_live_BK: Tensor
    ) -> Tensor:
        """`allowed` after the constraints; it is overwritten. `logits` are the model's.

        A hypothesis without an allowed token is given up. Where all hypotheses of a sentence are
        without one they may end, and the constraints are not met.
        """
        is_last_B = self.is_last(length_B)
        for kind in KINDS:
            if kind in self.states:
                step = ConstraintStep(logits_BKV, length_B, is_last_B, self.applies[kind])
                allowed_BKV = self.states[kind].restrict(allowed_BKV, step)
        is_stuck_BK = (allowed_BKV.amax(-1) == -torch.inf) & is_live_BK
        if not self.is_sampling:
            is_stuck_BK &= (is_stuck_BK | ~is_live_BK).all(-1, keepdim=True)
        ends_BK = torch.where(is_stuck_BK, logits_BKV[..., EOS], allowed_BKV[..., EOS])
        allowed_BKV[..., EOS] = ends_BK
        return allowed_BKV

    def advance(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """Hypotheses `rows` were continued by `tokens`."""
        for state in self.states.values():
            state.advance(rows_BK, tokens_BK)
