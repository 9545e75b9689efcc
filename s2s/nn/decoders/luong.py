"""The decoder of Luong et al. 2015, which attends with the new state.

Dimension letters: T target time, B sentences, N rows, E embedding width, D input width,
H decoder width, G width of a projected input.
"""

from dataclasses import replace

import torch
from torch import Tensor

from s2s.nn.attention import LoopMemory
from s2s.nn.decoders.base import Decoder, DecoderOutput, Readout
from s2s.nn.decoders.loop import LoopLayers, apply_mask, next_state, stack_steps, step_mask
from s2s.nn.memory import DecoderState, Memory
from s2s.recipe.model import LuongDecoder, Model


class Luong(Decoder):
    """h_i = LSTM(e_i, h_{i-1}); c_i attends with h_i; r_i = tanh(W [h_i; c_i]).

    Luong et al. 2015, section 3. With input feeding (section 3.3) the first layer reads
    [e_i; r_{i-1}].
    """

    reads_embedding = False

    def __init__(self, recipe: Model, section: LuongDecoder, source_width: int) -> None:
        fed = recipe.embeddings if section.input_feeding else 0
        upper = [section.width] * (section.layers - 1)
        super().__init__(recipe, source_width, [recipe.embeddings + fed, *upper])
        self.input_feeding = section.input_feeding
        self.embeddings = recipe.embeddings
        self.readout: Readout = Readout((section.width, self.context_width), recipe.embeddings)

    def start(self, memory: Memory) -> DecoderState:
        """See `Decoder`; with input feeding r_0 = 0."""
        state = super().start(memory)
        if not self.input_feeding:
            return state
        h_BH = self.top(state)
        return replace(state, fed=h_BH.new_zeros(len(h_BH), self.embeddings))

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """See `Decoder`; a loop only with input feeding."""
        state = self.start(memory)
        if self.input_feeding:
            return self._loop(memory, state, e_TBE)
        h_TBH = self.run_layers(e_TBE, state, first=0)
        attention = self.attend_times(memory, h_TBH)
        h_TBH = self.drop(h_TBH)
        r_TBE = self.drop_readout(self.readout(h_TBH, attention.context))
        return self.decoder_output(r_TBE, memory, attention, h_TBH, e_TBE)

    def _loop(self, memory: Memory, state: DecoderState, e_TBE: Tensor) -> DecoderOutput:
        projected_TBG = self.layer(0).project(e_TBE)
        run_layers, readout = LoopLayers(self, self.embeddings), self.readout.in_loop()
        loop_memory = LoopMemory.of(self.scores, memory)
        # The mask has the type of readouts, not that of embeddings.
        like_TBE = projected_TBG[..., : self.embeddings]
        drop_BE = step_mask(like_TBE, self.readout_dropout, self.training)
        readouts, hs, attentions = [], [], []
        for projected_BG in projected_TBG.unbind(0):
            assert state.fed is not None
            h_BH, new = run_layers(state.fed, state.layers, projected_BG)
            attention = self.attend_rows(memory, h_BH, state, loop_memory)
            readouts.append(apply_mask(readout(h_BH, attention.context), drop_BE))
            hs.append(h_BH)
            attentions.append(attention)
            state = next_state(new, attention, readouts[-1])
        return self.decoder_output(
            torch.stack(readouts), memory, stack_steps(attentions), torch.stack(hs), e_TBE
        )

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """See `Decoder`."""
        x_ND = e_NE if state.fed is None else torch.cat((e_NE, state.fed), dim=-1)
        h_NH, layers = self.step_layers(x_ND, state.layers, first=0)
        attention = self.attend_rows(memory, h_NH, state)
        r_NE = self.readout(h_NH, attention.context)
        fed = r_NE if self.input_feeding else None
        return self.decoder_output(r_NE, memory, attention, h_NH, e_NE), next_state(
            layers, attention, fed
        )
