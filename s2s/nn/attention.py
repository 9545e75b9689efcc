"""Attention: alpha_ij = softmax_j score(h_i, s_j), c_i = sum_j alpha_ij s_j.

`s2s.nn.attention_scores` has the score functions. The part of a score that depends on the source
alone is computed once per sentence. All queries of a sentence, the steps of teacher forcing or the
hypotheses of a beam, then take two products. In a decoding step no row of these depends on another
one (`s2s.nn.weighted_sum`).

Several heads are as many queries of a sentence, each with weights of its own; coverage and
alignments take the mean of the weights over the heads.

Dimension letters: B sentences, Q queries, S source time, D width of encoder states, H width of
decoder states, T target time, N rows (N = B*Q), M heads, G = M*Q, P width of a head's values.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.nn.attention_scores import AttentionScore
from s2s.nn.fused.attention import AttentionStep
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.memory import Memory
from s2s.nn.weighted_sum import weighted_sum


def masked_softmax(scores_BQS: Tensor, mask_BS: Tensor) -> Tensor:
    """Weights in float32; exactly zero where `mask_BS` (bool, true inside) is false."""
    hidden_B1S = ~mask_BS.unsqueeze(1)
    return torch.softmax(scores_BQS.float().masked_fill(hidden_B1S, -torch.inf), dim=-1)


def pooled_scores(scores: Tensor, outside: Tensor) -> Tensor:
    """Scores [..., S], float32, whose softmax is the mean over heads of those of [..., M, S].

    `outside` (bool [..., S], broadcast) is true at padding.
    """
    logs = torch.log_softmax(scores.masked_fill(outside.unsqueeze(-2), HIDDEN), dim=-1)
    top = logs.detach().amax(-2, keepdim=True)
    # One head after the other: a kernel that sums may round an element by its place.
    total = sum_heads((logs - top).exp(), -2)
    return total.log() + top.squeeze(-2) - math.log(scores.shape[-2])


def sum_heads(x: Tensor, dim: int) -> Tensor:
    """The sum over a dimension, in its order."""
    first, *others = x.unbind(dim)
    for one in others:
        first = first + one
    return first


HIDDEN = -1e30
"""The score of padding where -inf would make a NaN of a zero gradient."""


class LoopMemory(NamedTuple):
    """The memory of a loop over time of training, laid out for products of every step."""

    keys: Tensor | LoopLinear
    """See `AttentionScore.loop_keys`."""
    values: LoopLinear
    """Encoder states [B, D, S], or the values of heads [B*M, P, S]."""
    context: Callable[[Tensor], Tensor]
    """See `AttentionScore.loop_context`."""
    fused_step: AttentionStep | None = None
    """See `AttentionScore.fused_step`."""

    @classmethod
    def of(cls, scores: AttentionScore | None, memory: Memory) -> "LoopMemory | None":
        """Of a memory; None without attention."""
        if scores is None:
            return None
        summed = memory.states_BSD if memory.values is None else memory.values.flatten(0, 1)
        keys = scores.loop_keys(memory.keys)
        values = LoopLinear(summed.mT)
        fused_step = scores.fused_step(keys, values, memory.mask_BS)
        return cls(keys, values, scores.loop_context(), fused_step)


class AttentionOutput(NamedTuple):
    """Contexts [..., D], weights and scores [..., S] of queries."""

    context: Tensor
    """The weighted sum of encoder states; without attention the sentence's last state."""
    weights: Tensor | None
    """float32, of several heads their mean; None without attention."""
    scores: Tensor | None
    """float32; the weights are their softmax over the source. Of several heads [..., M, S]."""
    coverage: Tensor | None = None
    """float32, the coverage after these weights."""


def attend(scores: AttentionScore | None, memory: Memory, query_BQH: Tensor) -> AttentionOutput:
    """Attention of Q queries a sentence: context [B, Q, D], weights and scores [B, Q, S]."""
    if scores is None:
        final_BQD = memory.final_BD.unsqueeze(1).expand(-1, query_BQH.shape[1], -1)
        return AttentionOutput(final_BQD, None, None)
    scores_BGS = _score(scores, memory, query_BQH)
    return _weigh(scores, memory, scores_BGS, masked_softmax(scores_BGS, memory.mask_BS))


def attend_rows(
    scores: AttentionScore | None,
    memory: Memory,
    query_NH: Tensor,
    coverage: tuple[Tensor, Tensor] | None = None,
    loop_memory: LoopMemory | None = None,
) -> AttentionOutput:
    """`attend` for N = B*Q rows, the Q hypotheses of a sentence adjacent: [N, D] and [N, S].

    `coverage` is a weight w [1] and a row's coverage c [N, S]; w c is added to the scores. See et
    al. 2017, equation 11, add it inside the tanh; outside it suits every score.
    """
    query_BQH = query_NH.view(memory.final_BD.shape[0], -1, query_NH.shape[1])
    if scores is None:
        return _rows(attend(None, memory, query_BQH))
    if loop_memory is not None and loop_memory.fused_step is not None and coverage is None:
        return AttentionOutput(*loop_memory.fused_step(query_NH))
    scores_BGS = _step_scores(scores, memory, query_BQH, loop_memory)
    if coverage is not None:
        covered_BQS = coverage[1].view(*query_BQH.shape[:2], -1)
        scores_BGS = scores_BGS + coverage[0] * _for_heads(scores, covered_BQS)
    weights_BGS = masked_softmax(scores_BGS, memory.mask_BS)
    output = _weigh(scores, memory, scores_BGS, weights_BGS, loop_memory or memory)
    if coverage is not None:
        assert output.weights is not None
        after_BQS = covered_BQS + mask_to_words(memory, output.weights)
        output = output._replace(coverage=after_BQS)
    return _rows(output)


def attend_times(
    scores: AttentionScore | None, memory: Memory, query_TBH: Tensor, weight: Tensor | None = None
) -> AttentionOutput:
    """`attend` for all T steps of teacher forcing: [T, B, D] and [B, T, S].

    With the `weight` [1] of coverage, a step's weights depend on those of the steps before it.
    Scores and contexts are two products all the same; the loop has only operations on [B, S].
    """
    query_BTH = query_TBH.transpose(0, 1)
    if weight is None or scores is None:
        output = attend(scores, memory, query_BTH)
        return output._replace(context=output.context.transpose(0, 1))
    scores_BMTS = _by_head(scores, _score(scores, memory, query_BTH))
    outside_B1S = ~memory.mask_BS.unsqueeze(1)
    covered_BS = torch.zeros_like(scores_BMTS[:, 0, 0])
    covered, weights = [], []
    for scores_BMS in scores_BMTS.unbind(2):
        covered.append(scores_BMS + weight * covered_BS.unsqueeze(1))
        weights.append(torch.softmax(covered[-1].masked_fill(outside_B1S, -torch.inf), dim=-1))
        covered_BS = covered_BS + mask_to_words(memory, _mean(weights[-1]))
    covered_BGS, weights_BGS = (
        torch.stack(parts, dim=2).flatten(1, 2) for parts in (covered, weights)
    )
    output = _weigh(scores, memory, covered_BGS, weights_BGS)
    return output._replace(context=output.context.transpose(0, 1))


def mask_to_words(memory: Memory, weights: Tensor) -> Tensor:
    """Weights [B, S] or [B, Q, S], set to zero on the source's EOS and padding."""
    assert memory.words_BS is not None, "a memory for coverage"
    words_BS = memory.words_BS.to(weights.dtype)
    return weights * (words_BS if weights.dim() == 2 else words_BS.unsqueeze(1))


def _score(scores: AttentionScore, memory: Memory, query_BQH: Tensor) -> Tensor:
    """float32 [B, G, S]."""
    scores_BGS: Tensor = scores(query_BQH, memory.keys)
    return scores_BGS.float()


def _step_scores(
    scores: AttentionScore, memory: Memory, query_BQH: Tensor, loop_memory: LoopMemory | None
) -> Tensor:
    """float32 [B, G, S] of one step: of a loop of training, or of search, row by row."""
    if loop_memory is not None:
        scores_BGS: Tensor = scores(query_BQH, loop_memory.keys)
        return scores_BGS.float()
    sentences, queries, _ = query_BQH.shape
    scores_NS = scores.rows(query_BQH.flatten(0, 1), memory.keys)
    return scores_NS.view(sentences, queries * scores.heads, -1).float()


def _weigh(
    scores: AttentionScore,
    memory: Memory,
    scores_BGS: Tensor,
    weights_BGS: Tensor,
    step: Memory | LoopMemory | None = None,
) -> AttentionOutput:
    """Contexts of weights: of whole sequences, or of a step of search or of a loop of training."""
    values = memory.states_BSD if memory.values is None else memory.values.flatten(0, 1)
    if scores.heads == 1:
        return AttentionOutput(_sums(weights_BGS, values, step), weights_BGS, scores_BGS)
    weights_BMQS = _by_head(scores, weights_BGS)
    sums_BMQP = _sums(weights_BMQS.flatten(0, 1), values, step).view(*weights_BMQS.shape[:3], -1)
    parts_BQH = sums_BMQP.transpose(1, 2).flatten(2)
    to_context = step.context if isinstance(step, LoopMemory) else scores.context
    scores_BQMS = _by_head(scores, scores_BGS).transpose(1, 2)
    return AttentionOutput(to_context(parts_BQH), _mean(weights_BMQS), scores_BQMS)


def _sums(weights_BQS: Tensor, values_BSD: Tensor, step: Memory | LoopMemory | None) -> Tensor:
    """The values' weighted sums [B, Q, D], as `_weigh`; B may be sentences times heads."""
    if isinstance(step, LoopMemory):
        return step.values(weights_BQS)
    weights_BQS = weights_BQS.to(values_BSD.dtype)
    if step is None:
        return torch.bmm(weights_BQS, values_BSD)
    return weighted_sum(weights_BQS.flatten(0, 1), values_BSD).view(*weights_BQS.shape[:2], -1)


def _by_head(scores: AttentionScore, x_BGS: Tensor) -> Tensor:
    """[B, M, Q, S]."""
    return x_BGS.view(len(x_BGS), scores.heads, -1, x_BGS.shape[-1])


def _for_heads(scores: AttentionScore, x_BQS: Tensor) -> Tensor:
    """[B, G, S], the same for all heads."""
    return x_BQS.repeat(1, scores.heads, 1) if scores.heads > 1 else x_BQS


def _mean(weights: Tensor) -> Tensor:
    """Weights [B, M, ...] as their mean over the heads."""
    heads = weights.shape[1]
    return sum_heads(weights, 1) / heads if heads > 1 else weights.squeeze(1)


def _rows(output: AttentionOutput) -> AttentionOutput:
    """[B, Q, ...] as [B*Q, ...]."""
    weights, scores, coverage = (None if p is None else p.flatten(0, 1) for p in output[1:])
    return AttentionOutput(output.context.flatten(0, 1), weights, scores, coverage)
