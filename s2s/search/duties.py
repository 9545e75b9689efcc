"""Demands of the sentences of a block, as tensors: what each hypothesis may choose next.

Dimension letters: B sentences (slots), K hypotheses per sentence, V vocabulary, P tokens of a
prefix, R sentences that enter.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.demands import Demand
from s2s.text.special import PAD

NONE = PAD
"""Stands where a prefix has no token: padding is never demanded."""


class Duties:
    """The device's side of the demands of a block."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None:
        self.width = width
        self.device = device
        self.prefix_BP = torch.full((slots, 1), NONE, device=device)
        self.forced_steps = 0  # for so long some prefix may last

    def put(
        self, slots: NDArray[np.int64], demands: Sequence[Demand], longest: Sequence[int]
    ) -> None:
        """Sentences with these demands and most predictions enter the given slots [R]."""
        slots_R = torch.from_numpy(slots).to(self.device)
        self._put_prefixes(slots_R, [demand.prefix for demand in demands])

    def _put_prefixes(self, slots_R: Tensor, prefixes: Sequence[tuple[int, ...]]) -> None:
        self.forced_steps = max(self.forced_steps, *map(len, prefixes))
        time = max(self.prefix_BP.shape[1], 1 + max(map(len, prefixes)))
        wider_BP = torch.full((self.prefix_BP.shape[0], time), NONE, device=self.device)
        wider_BP[:, : self.prefix_BP.shape[1]] = self.prefix_BP
        rows = [[*prefix, *[NONE] * (time - len(prefix))] for prefix in prefixes]
        wider_BP[slots_R] = torch.tensor(rows, device=self.device)
        self.prefix_BP = wider_BP

    def restricted(self, allowed_BKV: Tensor, logits_BKV: Tensor, length_B: Tensor) -> Tensor:
        """What is left of `allowed`, which is overwritten; `logits` are the model's own.

        While a prefix lasts, its token alone is allowed, whatever else is asked.
        """
        return self._forced(allowed_BKV, logits_BKV, length_B)

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
