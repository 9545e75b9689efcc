"""Attention of several heads, each with a score and values of its own.

    c = W_o [c_1; ...; c_M]    c_m = sum_j alpha_mj (V s_j)_m    alpha_m = softmax_j score_m(h, s_j)

(Vaswani et al. 2017, section 3.2.2; with the additive score, in recurrent models, Chen et al. 2018,
section 4.) (x)_m is part m of M equal parts of a vector. V s_j is as wide as the decoder, so M
heads take as many multiplications as one over states of that width.

Dimension letters: B sentences, Q queries, S source time, D width of encoder states, H width of
decoder states, A width of the additive score's hidden layer, M heads, P width of a head's part,
N rows (N = B*Q), G = M*Q.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from s2s.nn.attention_scores import AttentionScore, ScoreMultiplications
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.model import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
)


class MultiHeadScores(AttentionScore):
    """Values and contexts of M heads. Abstract: the scores are missing."""

    def __init__(self, source_width: int, query_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.value = _linear(source_width, query_width)
        self.output = _linear(query_width, source_width)

    def values(self, states_BSD: Tensor) -> Tensor:
        """V s [B, M, S, P]."""
        return _split(self.value(states_BSD), self.heads).contiguous()

    def context(self, parts: Tensor) -> Tensor:
        """W_o [c_1; ...; c_M] [..., D]."""
        contexts: Tensor = self.output(parts)
        return contexts

    def loop_context(self) -> Callable[[Tensor], Tensor]:
        """See `AttentionScore`."""
        product = LoopLinear(self.output.weight)
        return lambda parts_BQH: product(parts_BQH.flatten(0, 1)).view(*parts_BQH.shape[:2], -1)

    def context_bound(self, state_D: Tensor) -> Tensor:
        """None: one from the weights would be so large that int8 had no levels left."""
        return torch.full_like(state_D, torch.inf)

    def summed_width(self, source_width: int) -> int:
        """See `AttentionScore`."""
        return self.value.out_features

    def _with_values(
        self, bounds: Mapping[str, Tensor], state_D: Tensor, query_H: Tensor
    ) -> Mapping[str, Tensor]:
        """`input_bounds` of a score's own layers, and of those of this class."""
        return {**bounds, "value": state_D, "output": torch.full_like(query_H, torch.inf)}


class BilinearHeads(MultiHeadScores):
    """score_m(h, s) = (q)_m . (K s)_m, with q = W h, or h itself unless `project`.

    `scaled` divides by sqrt(P). With a W for the query and `scaled` it is the multi-head attention
    of Vaswani et al. 2017; without, each head's h (K s)_m is bilinear as in Luong et al. 2015,
    section 3.1, of rank P.
    """

    def __init__(
        self, source_width: int, query_width: int, heads: int, *, project: bool, scaled: bool
    ) -> None:
        super().__init__(source_width, query_width, heads)
        self.key = _linear(source_width, query_width)
        self.query = _linear(query_width, query_width) if project else None
        self.scale = 1.0 / math.sqrt(query_width // heads) if scaled else 1.0

    def keys(self, states_BSD: Tensor) -> Tensor:
        """K s [B, M, P, S]."""
        return _split(self.key(states_BSD), self.heads).mT.contiguous()

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        """See `AttentionScore`; keys are [B, M, P, S]."""
        parts_CQP = self._parts(query_BQH).flatten(0, 1)
        if isinstance(keys, LoopLinear):
            scores_CQS = keys(parts_CQP)
        else:
            scores_CQS = torch.bmm(parts_CQP, keys.flatten(0, 1))
        return scores_CQS.reshape(len(query_BQH), -1, scores_CQS.shape[-1]) * self.scale

    def rows(self, query_NH: Tensor, keys: Tensor) -> Tensor:
        """See `AttentionScore`."""
        parts_BMQP = self._parts(query_NH.view(len(keys), -1, query_NH.shape[-1]))
        return weighted_sum(parts_BMQP.flatten(0, 2), keys.flatten(0, 1)) * self.scale

    def loop_keys(self, keys: Tensor) -> LoopLinear:
        """See `AttentionScore`."""
        return LoopLinear(keys.flatten(0, 1).mT)

    def input_bounds(self, state_D: Tensor, query_H: Tensor) -> Mapping[str, Tensor]:
        """See `AttentionScore`."""
        own = {"key": state_D} if self.query is None else {"key": state_D, "query": query_H}
        return self._with_values(own, state_D, query_H)

    @property
    def multiplications(self) -> ScoreMultiplications:
        """See `AttentionScore`."""
        query = 0 if self.query is None else self.query.weight.numel()
        return _multiplications(self, self.key, query, self.key.out_features)

    def _parts(self, query_BQH: Tensor) -> Tensor:
        """q [B, M, Q, P]."""
        return _split(query_BQH if self.query is None else self.query(query_BQH), self.heads)


class AdditiveHeads(MultiHeadScores):
    """score_m(h, s) = v_m . (tanh(W h + U s + b))_m (Chen et al. 2018, section 4).

    W is `query`, U and b are `source`, v_m is row m of `vector`, as in `AdditiveScores`.
    """

    def __init__(self, source_width: int, query_width: int, width: int, heads: int) -> None:
        super().__init__(source_width, query_width, heads)
        self.source = nn.Linear(source_width, width)
        self.query = nn.Linear(query_width, width, bias=False)
        part = width // heads
        self.vector = nn.Parameter(torch.empty(heads, part).uniform_(-(part**-0.5), part**-0.5))

    def keys(self, states_BSD: Tensor) -> Tensor:
        """U s + b [B, S, A]."""
        keys: Tensor = self.source(states_BSD)
        return keys

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        """See `AttentionScore`; keys are [B, S, A]."""
        assert isinstance(keys, Tensor)
        hidden_BQSA = torch.tanh(self.query(query_BQH).unsqueeze(2) + keys.unsqueeze(1))
        # One product for all heads, in which a head's vector is zero at the others' parts.
        parts = self.vector.unsqueeze(-1).unbind(0)
        vectors_AM: Tensor = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
        return (hidden_BQSA @ vectors_AM).permute(0, 3, 1, 2).flatten(1, 2)

    def rows(self, query_NH: Tensor, keys: Tensor) -> Tensor:
        """See `AttentionScore`."""
        sums_NA = self.query(query_NH)
        sums_BQ1A = sums_NA.view(len(keys), -1, 1, sums_NA.shape[-1])
        hidden_BQSA = torch.tanh(sums_BQ1A + keys.unsqueeze(1))
        hidden_BQSMP = hidden_BQSA.view(*hidden_BQSA.shape[:3], self.heads, -1)
        # As in `AdditiveScores`, a sum per row does not depend on its place.
        scores_BQSM = (hidden_BQSMP * self.vector).sum(-1)
        return scores_BQSM.permute(0, 3, 1, 2).flatten(0, 2)

    def input_bounds(self, state_D: Tensor, query_H: Tensor) -> Mapping[str, Tensor]:
        """See `AttentionScore`."""
        return self._with_values({"source": state_D, "query": query_H}, state_D, query_H)

    @property
    def multiplications(self) -> ScoreMultiplications:
        """See `AttentionScore`; training takes as many products for a pair as there are heads."""
        pair = self.heads * self.vector.numel()
        return _multiplications(self, self.source, self.query.weight.numel(), pair)


def build_heads(recipe: Attention, source_width: int, query_width: int) -> MultiHeadScores | None:
    """The scores of several heads; None for a recipe with one or none, or a kind without them."""
    widths = source_width, query_width
    match recipe:
        case DotAttention() if recipe.heads > 1:
            scaled = recipe.kind == "scaled_dot"
            return BilinearHeads(*widths, recipe.heads, project=True, scaled=scaled)
        case GeneralAttention() if recipe.heads > 1:
            return BilinearHeads(*widths, recipe.heads, project=False, scaled=False)
        case AdditiveAttention() if recipe.heads > 1:
            return AdditiveHeads(*widths, recipe.width or query_width, recipe.heads)
        case _:
            return None


def _linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(linear.weight)
    return linear


def _split(x_BSH: Tensor, heads: int) -> Tensor:
    """[B, M, S, P] of [B, S, H]."""
    return x_BSH.view(*x_BSH.shape[:2], heads, -1).transpose(1, 2)


def _multiplications(
    scores: MultiHeadScores, key: nn.Linear, query: int, pair: int
) -> ScoreMultiplications:
    """Those of a score, and of values and contexts."""
    each = key.weight.numel() + scores.value.weight.numel()
    return ScoreMultiplications(each, query + scores.output.weight.numel(), pair)
