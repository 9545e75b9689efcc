"""Sampling: each row of a sentence draws its own output.

Dimension letters: B sentences, K samples per sentence, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.recipe.search import SampleSearch
from s2s.search.randomness import uniforms
from s2s.search.strategies.base import Choice, Floats, StepContext
from s2s.search.strategies.greedy import Greedy
from s2s.special import EOS


@dataclass(frozen=True)
class Sample:
    """Ancestral sampling from the model, or from its truncated distribution.

    A token is drawn from softmax(logits / temperature), truncated in this order to the `top_k` most
    probable tokens (Fan et al. 2018), to the fewest of these with probability `top_p` (Holtzman et
    al. 2020), and to those at least `min_p` times as probable as the first (Nguyen et al. 2024).
    Among equally probable tokens the lower id is kept first. Temperature 0 is greedy search.

    Sample k of a sentence depends on (seed, the sentence's place in the input, k) alone.
    """

    settings: SampleSearch

    @property
    def width(self) -> int:
        """K, samples per sentence."""
        return self.settings.samples

    @property
    def keep(self) -> int:
        """All of them."""
        return self.settings.samples

    @property
    def coverage_penalty(self) -> float:
        """None: samples are not ranked."""
        return 0.0

    @property
    def is_sampling(self) -> bool:
        """Samples are independent."""
        return True

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """See `Strategy`."""
        rows_BK = torch.arange(self.width, device=logits_BKV.device).expand_as(offsets_BK)
        if self.settings.temperature == 0.0:
            choice = Greedy().choose(logits_BKV, offsets_BK, context)
            return choice._replace(rows=rows_BK)
        place_B1, length_B1 = context.place_B.unsqueeze(1), context.length_B.unsqueeze(1)
        uniform_BK = uniforms(self.settings.seed, place_B1, rows_BK, length_B1)
        tokens_BK = self._draw(logits_BKV, uniform_BK)
        chosen_BK = logits_BKV.gather(-1, tokens_BK.unsqueeze(-1)).squeeze(-1)
        totals_BK = offsets_BK + chosen_BK.double()
        is_end_BK = tokens_BK == EOS
        return Choice(
            rows=rows_BK,
            tokens=tokens_BK,
            totals=totals_BK.masked_fill(is_end_BK, -torch.inf),
            ended=totals_BK.masked_fill(~is_end_BK, -torch.inf),
        )

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """The log-probability; samples are not ranked by it."""
        return log_probs

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """None: a sentence waits for all its samples."""
        return np.full_like(totals, np.inf)

    def _draw(self, logits_BKV: Tensor, uniform_BK: Tensor) -> Tensor:
        """Tokens [B, K]: where the cumulative distribution passes the uniform numbers."""
        logits_BKV, tokens_BKV = self._ordered(logits_BKV)
        # The largest logit is subtracted first, so that small temperatures do not overflow.
        lead_BKV = logits_BKV.double() - logits_BKV.amax(-1, keepdim=True)
        weights_BKV = self._truncated((lead_BKV / self.settings.temperature).exp())
        cumulative_BKV = weights_BKV.cumsum(-1)
        passed_BK1 = uniform_BK.unsqueeze(-1) * cumulative_BKV[..., -1:]
        place_BK1 = (cumulative_BKV <= passed_BK1).sum(-1, keepdim=True)
        place_BK1 = place_BK1.clamp(max=logits_BKV.shape[-1] - 1)  # NaN passes all
        if tokens_BKV is not None:
            place_BK1 = tokens_BKV.gather(-1, place_BK1)
        return place_BK1.squeeze(-1)

    def _ordered(self, logits_BKV: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits and their tokens, the most probable first where truncation needs that."""
        if self.settings.top_k is None and self.settings.top_p == 1.0:
            return logits_BKV, None
        sorted_BKV, tokens_BKV = logits_BKV.sort(dim=-1, descending=True, stable=True)
        most = self.settings.top_k
        return sorted_BKV[..., :most], tokens_BKV[..., :most]

    def _truncated(self, weights_BKV: Tensor) -> Tensor:
        """Weights (the largest is 1), zero for tokens that truncation excludes."""
        if self.settings.top_p < 1.0:
            cumulative_BKV = weights_BKV.cumsum(-1)
            enough_BK1 = self.settings.top_p * cumulative_BKV[..., -1:]
            weights_BKV = weights_BKV * (cumulative_BKV - weights_BKV < enough_BK1)
        if self.settings.min_p > 0.0:
            weights_BKV = weights_BKV * (weights_BKV >= self.settings.min_p)
        return weights_BKV
