"""What an encoder leaves for a decoder, and what a decoder carries from step to step.

Dimension letters: B sentences, S source time, D source state width, K key width, N rows (N = B*K
hypotheses, those of a sentence adjacent), H decoder width, Q queries of a sentence.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.nn.attention import BilinearScores, Scores, masked_softmax
from s2s.nn.repeated import Repeated
from s2s.nn.rows import TensorRows
from s2s.nn.weighted_sum import weighted_sum


@dataclass(frozen=True)
class Memory(TensorRows):
    """B encoded sources: along S a text with its EOS, then the regions of each feature file."""

    states_BSD: Tensor
    """Encoder states, exactly zero at padding."""
    keys: Tensor
    """The source's share of the attention score, [B, S, K] or [B, K, S], as the score reads it; the
    states themselves without attention."""
    mask_BS: Tensor
    """bool, true at words and regions."""
    final_BD: Tensor
    """The source as one vector: of a text the last state of each direction, of regions their mean,
    of several sources what a layer makes of all these."""
    words_BS: Tensor | None = None
    """bool, true at words and regions but false at a text's EOS: what is covered; None without
    attention."""
    copies_BS: Tensor | None = None
    """int64, the id of each word in the extended target vocabulary (`s2s.nn.pointer`), PAD
    elsewhere; None where a model does not copy."""
    first_BS: Tensor | None = None
    """int64, the first position with the same id."""


@dataclass(frozen=True)
class DecoderState(TensorRows):
    """N rows of recurrent state, one tensor [N, H] a layer."""

    hidden: tuple[Tensor, ...]
    """h of each layer."""
    cell: tuple[Tensor, ...]
    """c of each layer."""
    fed: Tensor | None = None
    """Attentional state of the step before [N, E], where it is fed back."""
    coverage: Tensor | None = None
    """float32 [N, S], the attention that each word got so far, where it enters the score."""

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """(h, c) of one layer."""
        return self.hidden[index], self.cell[index]


class Sought(NamedTuple):
    """What a loop of training attends to, for products that are repeated."""

    keys: Tensor | Repeated
    """Of a memory; as they are where they are no factor of the score."""
    values: Repeated
    """[B, D, S]"""

    @classmethod
    def of(cls, scores: Scores | None, memory: Memory) -> "Sought | None":
        """A memory's; None without attention."""
        if scores is None:
            return None
        is_factor = isinstance(scores, BilinearScores)
        keys = Repeated(memory.keys.mT) if is_factor else memory.keys
        return cls(keys, Repeated(memory.states_BSD.mT))


class Attended(NamedTuple):
    """What queries found: [..., D] and [..., S]."""

    context: Tensor
    """The states, weighted and summed; of a model without attention the sentence's last state."""
    weights: Tensor | None
    """float32; None without attention."""
    scores: Tensor | None
    """float32, whose softmax over the source the weights are."""
    coverage: Tensor | None = None
    """float32, the coverage with these weights added."""


def attend(scores: Scores | None, memory: Memory, query_BQH: Tensor) -> Attended:
    """What Q queries a sentence find: context [B, Q, D], weights and scores [B, Q, S]."""
    if scores is None:
        nothing = memory.final_BD.unsqueeze(1).expand(-1, query_BQH.shape[1], -1)
        return Attended(nothing, None, None)
    scores_BQS = _score(scores, memory, query_BQH)
    return _weigh(memory, scores_BQS, masked_softmax(scores_BQS, memory.mask_BS))


def attend_rows(
    scores: Scores | None,
    memory: Memory,
    query_NH: Tensor,
    coverage: tuple[Tensor, Tensor] | None = None,
    sought: Sought | None = None,
) -> Attended:
    """`attend` for N = B*K rows, the K hypotheses of a sentence adjacent: [N, D] and [N, S].

    `coverage`, the weight w [1] of a row's coverage c [N, S], adds w c to the scores (See et al.
    2017, equation 11, outside of the tanh, so that it fits any score).
    """
    query_BQH = query_NH.view(memory.final_BD.shape[0], -1, query_NH.shape[1])
    if scores is None:
        return _rows(attend(None, memory, query_BQH))
    scores_BQS = _step_scores(scores, memory, query_BQH, sought)
    if coverage is not None:
        scores_BQS = scores_BQS + coverage[0] * coverage[1].view_as(scores_BQS)
    weights_BQS = masked_softmax(scores_BQS, memory.mask_BS)
    covered_BQS = None
    if coverage is not None:
        covered_BQS = coverage[1].view_as(scores_BQS) + words_of(memory, weights_BQS)
    context_BQD = _step_context(memory, weights_BQS, sought)
    return _rows(Attended(context_BQD, weights_BQS, scores_BQS, covered_BQS))


def attend_times(
    scores: Scores | None, memory: Memory, query_TBH: Tensor, weight: Tensor | None = None
) -> Attended:
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
        covered_BS = covered_BS + words_of(memory, weights[-1])
    found = _weigh(memory, torch.stack(covered, dim=1), torch.stack(weights, dim=1))
    return found._replace(context=found.context.transpose(0, 1))


def words_of(memory: Memory, weights: Tensor) -> Tensor:
    """Weights [B, S] or [B, Q, S] on words; zero on the source's EOS and padding."""
    assert memory.words_BS is not None, "a memory for coverage"
    words_BS = memory.words_BS.to(weights.dtype)
    return weights * (words_BS if weights.dim() == 2 else words_BS.unsqueeze(1))


def _score(scores: Scores, memory: Memory, query_BQH: Tensor) -> Tensor:
    """float32 [B, Q, S]."""
    scores_BQS: Tensor = scores(query_BQH, memory.keys)
    return scores_BQS.float()


def _weigh(memory: Memory, scores_BQS: Tensor, weights_BQS: Tensor) -> Attended:
    states_BSD = memory.states_BSD
    context_BQD = torch.bmm(weights_BQS.to(states_BSD.dtype), states_BSD)
    return Attended(context_BQD, weights_BQS, scores_BQS)


def _step_scores(
    scores: Scores, memory: Memory, query_BQH: Tensor, sought: Sought | None
) -> Tensor:
    """float32 [B, Q, S] of one step: in a loop of training, or of search, row by row."""
    if sought is not None:
        scores_BQS: Tensor = scores(query_BQH, sought.keys)
        return scores_BQS.float()
    scores_NS = scores.rows(query_BQH.flatten(0, 1), memory.keys)
    return scores_NS.view(*query_BQH.shape[:2], -1).float()


def _step_context(memory: Memory, weights_BQS: Tensor, sought: Sought | None) -> Tensor:
    """[B, Q, D] of one step, likewise."""
    if sought is not None:
        return sought.values(weights_BQS)
    states_BSD = memory.states_BSD
    weights_NS = weights_BQS.flatten(0, 1).to(states_BSD.dtype)
    return weighted_sum(weights_NS, states_BSD).view(*weights_BQS.shape[:2], -1)


def _rows(found: Attended) -> Attended:
    """[B, Q, ...] as [B*Q, ...]."""
    weights, scores, coverage = (None if p is None else p.flatten(0, 1) for p in found[1:])
    return Attended(found.context.flatten(0, 1), weights, scores, coverage)
