"""Attention: alpha_ij = softmax_j score(h_i, s_j), c_i = sum_j alpha_ij s_j.

The source's share of the score is computed once per sentence (`keys`); all queries of a sentence,
be they the steps of teacher forcing or the hypotheses of a beam, are answered in two products.
In a decoding step these are such that no row depends on another one's (`s2s.nn.weighted_sum`).

Dimension letters: B sentences, Q queries, S source time, D width of source states, H width of
decoder states, A width of the additive score's hidden layer, N rows (N = B*Q).
"""

import math
from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn

from s2s.nn.loop_linear import LoopLinear
from s2s.nn.memory import Memory
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.model import (
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

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        """Scores [B, Q, S] of keys [B, H, S]."""
        if isinstance(keys, LoopLinear):
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


class LoopMemory(NamedTuple):
    """What a loop of training attends to, for products that are repeated."""

    keys: Tensor | LoopLinear
    """Of a memory; as they are where they are no factor of the score."""
    values: LoopLinear
    """[B, D, S]"""

    @classmethod
    def of(cls, scores: Scores | None, memory: Memory) -> "LoopMemory | None":
        """A memory's; None without attention."""
        if scores is None:
            return None
        is_factor = isinstance(scores, BilinearScores)
        keys = LoopLinear(memory.keys.mT) if is_factor else memory.keys
        return cls(keys, LoopLinear(memory.states_BSD.mT))


class AttentionOutput(NamedTuple):
    """What queries found: [..., D] and [..., S]."""

    context: Tensor
    """The states, weighted and summed; of a model without attention the sentence's last state."""
    weights: Tensor | None
    """float32; None without attention."""
    scores: Tensor | None
    """float32, whose softmax over the source the weights are."""
    coverage: Tensor | None = None
    """float32, the coverage with these weights added."""


def attend(scores: Scores | None, memory: Memory, query_BQH: Tensor) -> AttentionOutput:
    """What Q queries a sentence find: context [B, Q, D], weights and scores [B, Q, S]."""
    if scores is None:
        nothing = memory.final_BD.unsqueeze(1).expand(-1, query_BQH.shape[1], -1)
        return AttentionOutput(nothing, None, None)
    scores_BQS = _score(scores, memory, query_BQH)
    return _weigh(memory, scores_BQS, masked_softmax(scores_BQS, memory.mask_BS))


def attend_rows(
    scores: Scores | None,
    memory: Memory,
    query_NH: Tensor,
    coverage: tuple[Tensor, Tensor] | None = None,
    loop_memory: LoopMemory | None = None,
) -> AttentionOutput:
    """`attend` for N = B*K rows, the K hypotheses of a sentence adjacent: [N, D] and [N, S].

    `coverage`, the weight w [1] of a row's coverage c [N, S], adds w c to the scores (See et al.
    2017, equation 11, outside of the tanh, so that it fits any score).
    """
    query_BQH = query_NH.view(memory.final_BD.shape[0], -1, query_NH.shape[1])
    if scores is None:
        return _rows(attend(None, memory, query_BQH))
    scores_BQS = _step_scores(scores, memory, query_BQH, loop_memory)
    if coverage is not None:
        scores_BQS = scores_BQS + coverage[0] * coverage[1].view_as(scores_BQS)
    weights_BQS = masked_softmax(scores_BQS, memory.mask_BS)
    covered_BQS = None
    if coverage is not None:
        covered_BQS = coverage[1].view_as(scores_BQS) + mask_to_words(memory, weights_BQS)
    context_BQD = _step_context(memory, weights_BQS, loop_memory)
    return _rows(AttentionOutput(context_BQD, weights_BQS, scores_BQS, covered_BQS))


def attend_times(
    scores: Scores | None, memory: Memory, query_TBH: Tensor, weight: Tensor | None = None
) -> AttentionOutput:
    """`attend` for all T steps of teacher forcing: [T, B, D] and [B, T, S].

    With the `weight` [1] of coverage, a step's weights depend on those before it. Scores and
    contexts still are two products; what is left of the loop are passes over [B, S].
    """
    query_BTH = query_TBH.transpose(0, 1)
    if weight is None or scores is None:
        found = attend(scores, memory, query_BTH)
        return found._replace(context=found.context.transpose(0, 1))
    scores_BTS = _score(scores, memory, query_BTH)
    outside_BS = ~memory.mask_BS
    covered_BS = torch.zeros_like(scores_BTS[:, 0])
    covered, weights = [], []
    for scores_BS in scores_BTS.unbind(1):
        covered.append(scores_BS + weight * covered_BS)
        weights.append(torch.softmax(covered[-1].masked_fill(outside_BS, -torch.inf), dim=-1))
        covered_BS = covered_BS + mask_to_words(memory, weights[-1])
    found = _weigh(memory, torch.stack(covered, dim=1), torch.stack(weights, dim=1))
    return found._replace(context=found.context.transpose(0, 1))


def mask_to_words(memory: Memory, weights: Tensor) -> Tensor:
    """Weights [B, S] or [B, Q, S] on words; zero on the source's EOS and padding."""
    assert memory.words_BS is not None, "a memory for coverage"
    words_BS = memory.words_BS.to(weights.dtype)
    return weights * (words_BS if weights.dim() == 2 else words_BS.unsqueeze(1))


def _score(scores: Scores, memory: Memory, query_BQH: Tensor) -> Tensor:
    """float32 [B, Q, S]."""
    scores_BQS: Tensor = scores(query_BQH, memory.keys)
    return scores_BQS.float()


def _weigh(memory: Memory, scores_BQS: Tensor, weights_BQS: Tensor) -> AttentionOutput:
    states_BSD = memory.states_BSD
    context_BQD = torch.bmm(weights_BQS.to(states_BSD.dtype), states_BSD)
    return AttentionOutput(context_BQD, weights_BQS, scores_BQS)


def _step_scores(
    scores: Scores, memory: Memory, query_BQH: Tensor, loop_memory: LoopMemory | None
) -> Tensor:
    """float32 [B, Q, S] of one step: in a loop of training, or of search, row by row."""
    if loop_memory is not None:
        scores_BQS: Tensor = scores(query_BQH, loop_memory.keys)
        return scores_BQS.float()
    scores_NS = scores.rows(query_BQH.flatten(0, 1), memory.keys)
    return scores_NS.view(*query_BQH.shape[:2], -1).float()


def _step_context(memory: Memory, weights_BQS: Tensor, loop_memory: LoopMemory | None) -> Tensor:
    """[B, Q, D] of one step, likewise."""
    if loop_memory is not None:
        return loop_memory.values(weights_BQS)
    states_BSD = memory.states_BSD
    weights_NS = weights_BQS.flatten(0, 1).to(states_BSD.dtype)
    return weighted_sum(weights_NS, states_BSD).view(*weights_BQS.shape[:2], -1)


def _rows(found: AttentionOutput) -> AttentionOutput:
    """[B, Q, ...] as [B*Q, ...]."""
    weights, scores, coverage = (None if p is None else p.flatten(0, 1) for p in found[1:])
    return AttentionOutput(found.context.flatten(0, 1), weights, scores, coverage)
