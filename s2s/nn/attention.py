"""Attention: alpha_ij = softmax_j score(h_i, s_j), c_i = sum_j alpha_ij s_j.

The source's share of the score is computed once per sentence (`keys`); all queries of a sentence,
be they the steps of teacher forcing or the hypotheses of a beam, are answered in two products.
In a decoding step these are such that no row depends on another one's (`s2s.nn.weighted_sum`).

Dimension letters: B sentences, Q queries, S source time, D width of source states, H width of
decoder states, A width of the additive score's hidden layer, N rows (N = B*Q).
"""

import math
from typing import assert_never

import torch
from torch import Tensor, nn

from s2s.nn.repeated import Repeated
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    NoAttention,
)


def masked_softmax(scores_BQS: Tensor, mask_BS: Tensor) -> Tensor:
    """Weights in float32; exactly zero where `mask_BS` (bool, true inside) is false."""
    hidden_B1S = ~mask_BS.unsqueeze(1)
    return torch.softmax(scores_BQS.float().masked_fill(hidden_B1S, -torch.inf), dim=-1)


class BilinearScores(nn.Module):
    """score(h, s) = h . s, or h W s where `project` (Luong et al. 2015, section 3.1).

    `scaled` divides by sqrt(H). W belongs to the keys, so a query costs nothing.
    """

    def __init__(self, source_width: int, query_width: int, project: bool, scaled: bool) -> None:
        super().__init__()
        needed = project or source_width != query_width
        self.projection = nn.Linear(source_width, query_width, bias=False) if needed else None
        self.scale = 1.0 / math.sqrt(query_width) if scaled else 1.0

    def keys(self, states_BSD: Tensor) -> Tensor:
        """W s [B, H, S]."""
        keys_BSH = states_BSD if self.projection is None else self.projection(states_BSD)
        return keys_BSH.mT

    def forward(self, query_BQH: Tensor, keys: Tensor | Repeated) -> Tensor:
        """Scores [B, Q, S] of keys [B, H, S]."""
        if isinstance(keys, Repeated):
            return keys(query_BQH) * self.scale
        return torch.bmm(query_BQH, keys) * self.scale

    def rows(self, query_NH: Tensor, keys_BHS: Tensor) -> Tensor:
        """Scores [N, S] of one decoding step."""
        return weighted_sum(query_NH, keys_BHS) * self.scale


class AdditiveScores(nn.Module):
    """score(h, s) = v . tanh(U h + W s + b) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, source_width: int, query_width: int, width: int) -> None:
        super().__init__()
        self.source = nn.Linear(source_width, width)
        self.query = nn.Linear(query_width, width, bias=False)
        self.vector = nn.Linear(width, 1, bias=False)

    def keys(self, states_BSD: Tensor) -> Tensor:
        """W s + b [B, S, A]."""
        keys: Tensor = self.source(states_BSD)
        return keys

    def forward(self, query_BQH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Scores [B, Q, S]."""
        hidden_BQSA = torch.tanh(self.query(query_BQH).unsqueeze(2) + keys_BSA.unsqueeze(1))
        scores: Tensor = self.vector(hidden_BQSA).squeeze(-1)
        return scores

    def rows(self, query_NH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Scores [N, S] of one decoding step."""
        sums_NA = self.query(query_NH)
        sums_BQ1A = sums_NA.view(len(keys_BSA), -1, 1, sums_NA.shape[-1])
        hidden_BQSA = torch.tanh(sums_BQ1A + keys_BSA.unsqueeze(1))
        # A product with a single column may round a row by its place; a sum per row does not.
        scores_BQS = (hidden_BQSA * self.vector.weight[0]).sum(-1)
        return scores_BQS.flatten(0, 1)


Scores = BilinearScores | AdditiveScores


def build_scores(recipe: Attention, source_width: int, query_width: int) -> Scores | None:
    """The score function a recipe asks for; None for the bottleneck."""
    match recipe:
        case DotAttention():
            scaled = recipe.kind == "scaled_dot"
            return BilinearScores(source_width, query_width, project=False, scaled=scaled)
        case GeneralAttention():
            return BilinearScores(source_width, query_width, project=True, scaled=False)
        case AdditiveAttention():
            return AdditiveScores(source_width, query_width, recipe.width or query_width)
        case NoAttention():
            return None
        case _:
            assert_never(recipe)
