"""Decoders of labels: of a whole text, or of each of its words. They have no recurrence.

Dimension letters: B sentences, S source time, T label time (T = 1 of a text), D encoder state
width, E embedding width, N rows.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from s2s.nn.decoders.base import Decoder, DecoderOutput, Readout
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.model import Classifier, LabelDecoder, Model, Tagger

LOWEST = -1e30
"""The score of a position that is padding."""


class Labels(Decoder):
    """What the output layer reads of each label: r = tanh(W s + b) of a vector s. Abstract."""

    reads_embedding = False

    def __init__(self, recipe: Model, section: LabelDecoder, source_width: int) -> None:
        super().__init__(recipe, source_width, [])
        assert section.layers == 0, "no recurrence"
        self.readout: Readout = Readout((source_width,), recipe.embeddings)

    def vectors(self, memory: Memory) -> Tensor:
        """s [B, T, D] of every label."""
        raise AssertionError("abstract")

    def count(self, memory: Memory) -> Tensor:
        """int64 [B]: the number of labels of each text."""
        raise AssertionError("abstract")

    def readouts(self, memory: Memory) -> Tensor:
        """r [B, T, E] of every label."""
        r_TBE: Tensor = self.readout(self.vectors(memory)).transpose(0, 1)
        return self.drop_readout(r_TBE).transpose(0, 1)

    def start(self, memory: Memory) -> DecoderState:
        """The place of the first label."""
        place_B = torch.zeros(len(memory.final_BD), dtype=torch.int64, device=memory.mask_BS.device)
        return DecoderState((), place=place_B)

    def readout_bound(self, embedding_E: Tensor, state_D: Tensor) -> Tensor:
        """See `Decoder`: the readout reads encoder states or means of them."""
        return state_D

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """None: no label is an input of the decoder."""
        raise AssertionError("`Seq2Seq.forward` has the logits of labels")

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """None, likewise."""
        raise AssertionError("`Seq2Seq.step` has the logits of labels")


class TextLabels(Labels):
    """One label of a text, from its states as one vector."""

    def __init__(self, recipe: Model, section: Classifier, source_width: int) -> None:
        super().__init__(recipe, section, source_width)
        self.pooling = section.pooling
        self.pool: nn.Module | None = None
        if section.pooling == "attention":
            linear = nn.Linear(source_width, source_width)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            self.pool = linear
            self.pool_query = nn.Parameter(torch.randn(source_width) * source_width**-0.5)

    def vectors(self, memory: Memory) -> Tensor:
        """See `Labels`."""
        return self._pooled(memory).unsqueeze(1)

    def _pooled(self, memory: Memory) -> Tensor:
        """s [B, D]."""
        states_BSD, mask_BS = memory.states_BSD, memory.mask_BS
        if self.pooling == "final":
            return memory.final_BD
        if self.pooling == "max":
            return states_BSD.masked_fill(~mask_BS.unsqueeze(-1), LOWEST).amax(1)
        if self.pool is None:
            weights_BS = mask_BS.float() / mask_BS.sum(1, keepdim=True)
        else:
            # Yang et al. 2016: u = tanh(W s + b), weights softmax(u . q).
            keys_BSD = torch.tanh(self.pool(states_BSD)).float()
            scores_BS = (keys_BSD * self.pool_query.float()).sum(-1)
            weights_BS = torch.softmax(scores_BS.masked_fill(~mask_BS, LOWEST), dim=-1)
        return weighted_sum(weights_BS.to(states_BSD.dtype), states_BSD)

    def count(self, memory: Memory) -> Tensor:
        """See `Labels`."""
        return torch.ones(len(memory.mask_BS), dtype=torch.int64, device=memory.mask_BS.device)


class WordLabels(Labels):
    """A label of each word, from the encoder's state at it."""

    def __init__(self, recipe: Model, section: Tagger, source_width: int) -> None:
        super().__init__(recipe, section, source_width)

    def vectors(self, memory: Memory) -> Tensor:
        """See `Labels`."""
        return memory.states_BSD

    def count(self, memory: Memory) -> Tensor:
        """See `Labels`: all words but the text's EOS."""
        return memory.mask_BS.sum(1) - 1


def next_place(state: DecoderState) -> DecoderState:
    """The state after a label."""
    assert state.place is not None, "a state of labels"
    return replace(state, place=state.place + 1)
