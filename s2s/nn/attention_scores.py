"""Score functions of attention, score(h, s) of a decoder state h and an encoder state s.

`build_scores` is the table of score functions. A new one is a subclass of `AttentionScore`, and a
case there.

With several heads (`s2s.nn.attention_heads`) a query has a score of each.

Dimension letters: B sentences, Q queries, S source time, D width of encoder states, H width of
decoder states, A width of the additive score's hidden layer, N rows (N = B*Q), G = Q times the
number of heads.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn

from s2s.nn.fused.attention import AttentionStep, choose_additive_step, choose_bilinear_step
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.model import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    HardAttention,
    NoAttention,
)


class ScoreMultiplications(NamedTuple):
    """Multiplications of the matrix products in a score function."""

    key: int
    """For each encoder state."""
    query: int
    """For each decoder state."""
    pair: int
    """For each pair of the two."""


class AttentionScore(nn.Module):
    """score(h, s). Abstract.

    `keys` is the part that depends on the encoder state alone, computed once per sentence: a tensor
    [B, ...] of a layout of the class's choice. Its results are in the type of its inputs.
    """

    heads = 1
    """Heads, whose scores stand one after the other: those of the first head for all queries of a
    sentence, then those of the next."""

    def keys(self, states_BSD: Tensor) -> Tensor:
        """Keys [B, ...] of encoder states."""
        raise AssertionError("abstract")

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        """Scores [B, G, S] of all queries; `keys` are those of `keys` or `loop_keys`."""
        raise AssertionError("abstract")

    def rows(self, query_NH: Tensor, keys: Tensor) -> Tensor:
        """Scores [B*G, S] of one step of search.

        On a CPU every row must be rounded in the same way at any place among others.
        """
        raise AssertionError("abstract")

    def loop_keys(self, keys: Tensor) -> Tensor | LoopLinear:
        """`keys` for a loop over time of training: a `LoopLinear` where they are a matrix that
        multiplies the query."""
        return keys

    def fused_step(
        self, keys: Tensor | LoopLinear, values: LoopLinear, mask_BS: Tensor
    ) -> AttentionStep | None:
        """A step of a loop over time of training in one kernel, where there is such a kernel.

        `keys` are those of `loop_keys`, values are [B, D, S].
        """
        return None

    def values(self, states_BSD: Tensor) -> Tensor | None:
        """What the weights of each head sum, [B, heads, S, ...]; None for the states themselves."""
        return None

    def context(self, parts: Tensor) -> Tensor:
        """Contexts [..., D] of the sums of all heads side by side."""
        return parts

    def loop_context(self) -> Callable[[Tensor], Tensor]:
        """`context` for a loop over time of training."""
        return self.context

    def context_bound(self, state_D: Tensor) -> Tensor:
        """The largest absolute value of each channel of contexts, from those of encoder states."""
        return state_D

    def input_bounds(self, state_D: Tensor, query_H: Tensor) -> Mapping[str, Tensor]:
        """The `nn.Linear` children that search replaces by products of lower precision, by name.

        With each comes a bound of the absolute value of its input channels, from those of encoder
        states and of decoder states.
        """
        raise AssertionError("abstract")

    @property
    def multiplications(self) -> ScoreMultiplications:
        """See `ScoreMultiplications`."""
        raise AssertionError("abstract")

    def summed_width(self, source_width: int) -> int:
        """Multiplications of the weights' sum, for each pair of a decoder and an encoder state."""
        return source_width


class BilinearScores(AttentionScore):
    """score(h, s) = h . s, or h W s where `project` (Luong et al. 2015, section 3.1).

    `scaled` divides by sqrt(H) (Vaswani et al. 2017, section 3.2.1). W multiplies the encoder
    states, so a query needs no product of its own. If the widths differ, h . s needs W too.
    """

    def __init__(self, source_width: int, query_width: int, project: bool, scaled: bool) -> None:
        super().__init__()
        needed = project or source_width != query_width
        self.projection = nn.Linear(source_width, query_width, bias=False) if needed else None
        self.query_width = query_width
        self.scale = 1.0 / math.sqrt(query_width) if scaled else 1.0

    def keys(self, states_BSD: Tensor) -> Tensor:
        """W s [B, H, S]."""
        keys_BSH = states_BSD if self.projection is None else self.projection(states_BSD)
        return keys_BSH.mT

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        """See `AttentionScore`; keys are [B, H, S]."""
        if isinstance(keys, LoopLinear):
            return keys(query_BQH) * self.scale
        return torch.bmm(query_BQH, keys) * self.scale

    def rows(self, query_NH: Tensor, keys: Tensor) -> Tensor:
        """See `AttentionScore`."""
        return weighted_sum(query_NH, keys) * self.scale

    def loop_keys(self, keys: Tensor) -> LoopLinear:
        """See `AttentionScore`."""
        return LoopLinear(keys.mT)

    def fused_step(
        self, keys: Tensor | LoopLinear, values: LoopLinear, mask_BS: Tensor
    ) -> AttentionStep | None:
        """See `AttentionScore`."""
        assert isinstance(keys, LoopLinear)
        return choose_bilinear_step(keys, values, mask_BS, self.scale)

    def input_bounds(self, state_D: Tensor, query_H: Tensor) -> Mapping[str, Tensor]:
        """See `AttentionScore`."""
        return {} if self.projection is None else {"projection": state_D}

    @property
    def multiplications(self) -> ScoreMultiplications:
        """See `AttentionScore`."""
        key = 0 if self.projection is None else self.projection.weight.numel()
        return ScoreMultiplications(key, 0, self.query_width)


class AdditiveScores(AttentionScore):
    """score(h, s) = v . tanh(W h + U s + b).

    Bahdanau et al. 2015, appendix A.1.2, with their letters v_a . tanh(W_a s_{i-1} + U_a h_j). W is
    `query`, U and b are `source`, v is `vector`.
    """

    def __init__(self, source_width: int, query_width: int, width: int) -> None:
        super().__init__()
        self.source = nn.Linear(source_width, width)
        self.query = nn.Linear(query_width, width, bias=False)
        self.vector = nn.Linear(width, 1, bias=False)

    def keys(self, states_BSD: Tensor) -> Tensor:
        """U s + b [B, S, A]."""
        keys: Tensor = self.source(states_BSD)
        return keys

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        """See `AttentionScore`; keys are [B, S, A]."""
        assert isinstance(keys, Tensor)
        hidden_BQSA = torch.tanh(self.query(query_BQH).unsqueeze(2) + keys.unsqueeze(1))
        scores: Tensor = self.vector(hidden_BQSA).squeeze(-1)
        return scores

    def rows(self, query_NH: Tensor, keys: Tensor) -> Tensor:
        """See `AttentionScore`."""
        sums_NA = self.query(query_NH)
        sums_BQ1A = sums_NA.view(len(keys), -1, 1, sums_NA.shape[-1])
        hidden_BQSA = torch.tanh(sums_BQ1A + keys.unsqueeze(1))
        # A product with a single column may round a row by its place; a sum per row does not.
        scores_BQS = (hidden_BQSA * self.vector.weight[0]).sum(-1)
        return scores_BQS.flatten(0, 1)

    def fused_step(
        self, keys: Tensor | LoopLinear, values: LoopLinear, mask_BS: Tensor
    ) -> AttentionStep | None:
        """See `AttentionScore`."""
        assert isinstance(keys, Tensor)
        own = (self.query.weight, self.vector.weight[0])
        return choose_additive_step(keys, values, mask_BS, *own)

    def input_bounds(self, state_D: Tensor, query_H: Tensor) -> Mapping[str, Tensor]:
        """See `AttentionScore`; `rows` computes the product with v itself."""
        return {"source": state_D, "query": query_H}

    @property
    def multiplications(self) -> ScoreMultiplications:
        """See `AttentionScore`."""
        return ScoreMultiplications(
            self.source.weight.numel(), self.query.weight.numel(), self.vector.weight.numel()
        )


def build_scores(recipe: Attention, source_width: int, query_width: int) -> AttentionScore | None:
    """The score function of a recipe; None without attention."""
    match recipe:
        case DotAttention():
            scaled = recipe.kind == "scaled_dot"
            return BilinearScores(source_width, query_width, project=False, scaled=scaled)
        case GeneralAttention():
            return BilinearScores(source_width, query_width, project=True, scaled=False)
        case AdditiveAttention():
            return AdditiveScores(source_width, query_width, recipe.width or query_width)
        case HardAttention():
            return build_scores(recipe.score, source_width, query_width)
        case NoAttention():
            return None
        case _:
            assert_never(recipe)
