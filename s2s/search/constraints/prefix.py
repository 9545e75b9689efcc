"""A prefix that the output begins with: prefix-constrained decoding (Wuebker et al. 2016).

Dimension letters: B sentences (slots), K hypotheses per sentence, V vocabulary, R sentences that
enter, P tokens of the longest prefix, and one place more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.base import ConstraintStep, Effect
from s2s.special import PAD

NONE = PAD
"""Stands where a prefix has no token: padding is never part of one."""


@dataclass(frozen=True)
class PrefixConstraint:
    """Tokens that an output begins with."""

    tokens: tuple[int, ...]
    effect: ClassVar[Effect] = Effect.RESTRICT

    def among(self, tokens: Sequence[int]) -> Self:
        """See `Constraint`."""
        place = {token: place for place, token in enumerate(tokens)}
        return type(self)(tuple(place[token] for token in self.tokens))

    def of_piece(self, number: int) -> Self | None:
        """See `Constraint`: the first piece begins the output."""
        return self if number == 0 else None

    def restrict_row(self, allowed_V: Tensor, logits_V: Tensor, prefix: Sequence[int]) -> None:
        """See `Constraint`."""
        if len(prefix) < len(self.tokens):
            token = self.tokens[len(prefix)]
            logit = logits_V[token].clone()
            allowed_V.fill_(-torch.inf)
            allowed_V[token] = logit


class PrefixState:
    """The prefixes of a decoding batch."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None:
        self.width = width
        self.device = device
        self.prefix_BP = torch.full((slots, 1), NONE, device=device)
        self.steps_left = 0
        """Steps for which some prefix may last."""

    def put(self, slots: NDArray[np.int64], constraints: Sequence[PrefixConstraint]) -> None:
        """See `ConstraintState`."""
        prefixes = [one.tokens for one in constraints]
        slots_R = to_device(torch.from_numpy(slots), self.device)
        self.steps_left = max(self.steps_left, *map(len, prefixes))
        time = max(self.prefix_BP.shape[1], 1 + max(map(len, prefixes)))
        wider_BP = torch.full((self.prefix_BP.shape[0], time), NONE, device=self.device)
        wider_BP[:, : self.prefix_BP.shape[1]] = self.prefix_BP
        rows = [[*prefix, *[NONE] * (time - len(prefix))] for prefix in prefixes]
        wider_BP[slots_R] = to_device(torch.tensor(rows), self.device)
        self.prefix_BP = wider_BP

    def restrict(self, allowed_BKV: Tensor, step: ConstraintStep) -> Tensor:
        """See `ConstraintState`. The token of a prefix alone is allowed, whatever else is asked."""
        if self.steps_left == 0:
            return allowed_BKV
        self.steps_left -= 1
        last = self.prefix_BP.shape[1] - 1  # where no prefix has a token
        token_B = self.prefix_BP.gather(1, step.length_B.clamp(max=last).unsqueeze(1)).squeeze(1)
        is_free_B = (token_B == NONE) | ~step.applies_B
        token_BK1 = token_B.view(-1, 1, 1).expand(-1, self.width, 1)
        forced_BKV = torch.full_like(allowed_BKV, -torch.inf)
        forced_BKV.scatter_(-1, token_BK1, step.logits_BKV.gather(-1, token_BK1))
        return torch.where(is_free_B.view(-1, 1, 1), allowed_BKV, forced_BKV)

    def advance(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """See `ConstraintState`: all hypotheses of a sentence are at the same token."""
