"""Attention: alpha_ij = softmax_j score(h_i, s_j), c_i = sum_j alpha_ij s_j.

`s2s.nn.attention_scores` has the score functions. The part of a score that depends on the source
alone is computed once per sentence. All queries of a sentence, the steps of teacher forcing or the
hypotheses of a beam, then take two products. In a decoding step no row of these depends on another
one (`s2s.nn.weighted_sum`).

Dimension letters: B sentences, Q queries, S source time, D width of encoder states, H width of
decoder states, T target time, N rows (N = B*Q).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from s2s.nn.attention_scores import AttentionScore
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.memory import Memory
from s2s.nn.weighted_sum import weighted_sum


def masked_softmax(scores_BQS: Tensor, mask_BS: Tensor) -> Tensor:
    """Weights in float32; exactly zero where `mask_BS` (bool, true inside) is false."""
    hidden_B1S = ~mask_BS.unsqueeze(1)
    return torch.softmax(scores_BQS.float().masked_fill(hidden_B1S, -torch.inf), dim=-1)


class LoopMemory(NamedTuple):
    """The memory of a loop over time of training, laid out for products of every step."""

    keys: Tensor | LoopLinear
    """See `AttentionScore.loop_keys`."""
    values: LoopLinear
    """Encoder states [B, D, S]."""

    @classmethod
    def of(cls, scores: AttentionScore | None, memory: Memory) -> "LoopMemory | None":
        """Of a memory; None without attention."""
        if scores is None:
            return None
        return cls(scores.loop_keys(memory.keys), LoopLinear(memory.states_BSD.mT))


class AttentionOutput(NamedTuple):
    """Contexts [..., D], weights and scores [..., S] of queries."""

    context: Tensor
    """The weighted sum of encoder states; without attention the sentence's last state."""
    weights: Tensor | None
    """float32; None without attention."""
    scores: Tensor | None
    """float32; the weights are their softmax over the source."""
    coverage: Tensor | None = None
    """float32, the coverage after these weights."""


def attend(scores: AttentionScore | None, memory: Memory, query_BQH: Tensor) -> AttentionOutput:
    """Attention of Q queries a sentence: context [B, Q, D], weights and scores [B, Q, S]."""
    if scores is None:
        final_BQD = memory.final_BD.unsqueeze(1).expand(-1, query_BQH.shape[1], -1)
        return AttentionOutput(final_BQD, None, None)
    scores_BQS = _score(scores, memory, query_BQH)
    return _weigh(memory, scores_BQS, masked_softmax(scores_BQS, memory.mask_BS))


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
    scores_BTS = _score(scores, memory, query_BTH)
    outside_BS = ~memory.mask_BS
    covered_BS = torch.zeros_like(scores_BTS[:, 0])
    covered, weights = [], []
    for scores_BS in scores_BTS.unbind(1):
        covered.append(scores_BS + weight * covered_BS)
        weights.append(torch.softmax(covered[-1].masked_fill(outside_BS, -torch.inf), dim=-1))
        covered_BS = covered_BS + mask_to_words(memory, weights[-1])
    output = _weigh(memory, torch.stack(covered, dim=1), torch.stack(weights, dim=1))
    return output._replace(context=output.context.transpose(0, 1))


def mask_to_words(memory: Memory, weights: Tensor) -> Tensor:
    """Weights [B, S] or [B, Q, S], set to zero on the source's EOS and padding."""
    assert memory.words_BS is not None, "a memory for coverage"
    words_BS = memory.words_BS.to(weights.dtype)
    return weights * (words_BS if weights.dim() == 2 else words_BS.unsqueeze(1))


def _score(scores: AttentionScore, memory: Memory, query_BQH: Tensor) -> Tensor:
    """float32 [B, Q, S]."""
    scores_BQS: Tensor = scores(query_BQH, memory.keys)
    return scores_BQS.float()


def _weigh(memory: Memory, scores_BQS: Tensor, weights_BQS: Tensor) -> AttentionOutput:
    states_BSD = memory.states_BSD
    context_BQD = torch.bmm(weights_BQS.to(states_BSD.dtype), states_BSD)
    return AttentionOutput(context_BQD, weights_BQS, scores_BQS)


def _step_scores(
    scores: AttentionScore, memory: Memory, query_BQH: Tensor, loop_memory: LoopMemory | None
) -> Tensor:
    """float32 [B, Q, S] of one step: of a loop of training, or of search, row by row."""
    if loop_memory is not None:
        scores_BQS: Tensor = scores(query_BQH, loop_memory.keys)
        return scores_BQS.float()
    scores_NS = scores.rows(query_BQH.flatten(0, 1), memory.keys)
    return scores_NS.view(*query_BQH.shape[:2], -1).float()


def _step_context(memory: Memory, weights_BQS: Tensor, loop_memory: LoopMemory | None) -> Tensor:
    """[B, Q, D] of one step, as `_step_scores`."""
    if loop_memory is not None:
        return loop_memory.values(weights_BQS)
    states_BSD = memory.states_BSD
    weights_NS = weights_BQS.flatten(0, 1).to(states_BSD.dtype)
    return weighted_sum(weights_NS, states_BSD).view(*weights_BQS.shape[:2], -1)


def _rows(output: AttentionOutput) -> AttentionOutput:
    """[B, Q, ...] as [B*Q, ...]."""
    weights, scores, coverage = (None if p is None else p.flatten(0, 1) for p in output[1:])
    return AttentionOutput(output.context.flatten(0, 1), weights, scores, coverage)
