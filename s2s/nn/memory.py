"""What an encoder leaves for a decoder, and what a decoder carries from step to step.

Dimension letters: B sentences, S source time, D source state width, K key width, N rows (N = B*K
hypotheses, those of a sentence adjacent), H decoder width, Q queries of a sentence.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from s2s.nn.attention import Scores, masked_softmax
from s2s.nn.rows import TensorRows


@dataclass(frozen=True)
class Memory(TensorRows):
    """B encoded sources."""

    states_BSD: Tensor
    """Encoder states, exactly zero at padding."""
    keys_BSK: Tensor
    """The source's share of the attention score; the states themselves without attention."""
    mask_BS: Tensor
    """bool, true at words."""
    final_BD: Tensor
    """Last state of each direction: the sentence as one vector."""


@dataclass(frozen=True)
class DecoderState(TensorRows):
    """N rows of recurrent state, one tensor [N, H] a layer."""

    hidden: tuple[Tensor, ...]
    """h of each layer."""
    cell: tuple[Tensor, ...]
    """c of each layer."""
    fed: Tensor | None = None
    """Attentional state of the step before [N, E], where it is fed back."""

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """(h, c) of one layer."""
        return self.hidden[index], self.cell[index]


def attend(
    scores: Scores | None, memory: Memory, query_BQH: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Contexts [B, Q, D] and float32 weights [B, Q, S] of Q queries a sentence.

    Without attention (`scores` None) the context is the sentence's last state, whatever is asked.
    """
    if scores is None:
        return memory.final_BD.unsqueeze(1).expand(-1, query_BQH.shape[1], -1), None
    weights_BQS = masked_softmax(scores(query_BQH, memory.keys_BSK), memory.mask_BS)
    states_BSD = memory.states_BSD
    return torch.bmm(weights_BQS.to(states_BSD.dtype), states_BSD), weights_BQS


def attend_rows(
    scores: Scores | None, memory: Memory, query_NH: Tensor
) -> tuple[Tensor, Tensor | None]:
    """`attend` for N = B*K rows, the K hypotheses of a sentence adjacent: [N, D] and [N, S]."""
    rows = query_NH.shape[0]
    query_BQH = query_NH.view(memory.final_BD.shape[0], -1, query_NH.shape[1])
    context_BQD, weights_BQS = attend(scores, memory, query_BQH)
    weights_NS = None if weights_BQS is None else weights_BQS.reshape(rows, -1)
    return context_BQD.reshape(rows, -1), weights_NS


def attend_times(
    scores: Scores | None, memory: Memory, query_TBH: Tensor
) -> tuple[Tensor, Tensor | None]:
    """`attend` for all T steps of teacher forcing: [T, B, D] and [B, T, S]."""
    context_BTD, weights_BTS = attend(scores, memory, query_TBH.transpose(0, 1))
    return context_BTD.transpose(0, 1), weights_BTS
