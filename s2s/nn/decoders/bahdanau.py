"""The decoder of Bahdanau et al. 2015, which attends with the previous state.

Dimension letters: T target time, B sentences, N rows, E embedding width, D encoder state width,
H decoder width, G width of a projected input.
"""

import torch
from torch import Tensor

from s2s.nn.attention import LoopMemory
from s2s.nn.decoders.base import Decoder, DecoderOutput, Readout, context_width
from s2s.nn.decoders.loop import LoopLayers, apply_mask, next_state, stack_steps, step_mask
from s2s.nn.memory import DecoderState, Memory
from s2s.recipe.model import BahdanauDecoder, Model


class Bahdanau(Decoder):
    """c_i attends with h_{i-1}; h_i = LSTM([e_i; c_i], h_{i-1}); r_i reads h_i, c_i, e_i.

    Bahdanau et al. 2015, section 3.1 and appendix A.2 (the cell there is a GRU, the readout a
    maxout). With several layers the top one attends and the first reads the context.
    """

    context_layer = 0

    def __init__(self, recipe: Model, section: BahdanauDecoder, source_width: int) -> None:
        upper = [section.width] * (section.layers - 1)
        first = recipe.embeddings + context_width(recipe, source_width)
        super().__init__(recipe, source_width, [first, *upper])
        self.embeddings = recipe.embeddings
        widths = (section.width, self.context_width, recipe.embeddings)
        self.readout: Readout = Readout(widths, recipe.embeddings)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """See `Decoder`; only attention and recurrence are a loop over time."""
        state = self.start(memory)
        projected_TBG = self.layer(0).project(e_TBE)
        drop_BD = step_mask(
            memory.final_BD[None, :, : self.context_width], self.dropout, self.training
        )
        run_layers, loop_memory = (
            LoopLayers(self, self.embeddings),
            LoopMemory.of(self.scores, memory),
        )
        hs, attentions = [], []
        for projected_BG in projected_TBG.unbind(0):
            attention = self.attend_rows(memory, self.top(state), state, loop_memory)
            attention = attention._replace(context=apply_mask(attention.context, drop_BD))
            h_BH, new = run_layers(attention.context, state.layers, projected_BG)
            state = next_state(new, attention)
            hs.append(h_BH)
            attentions.append(attention)
        h_TBH, whole = self.drop(torch.stack(hs)), stack_steps(attentions)
        r_TBE = self.drop_readout(self.readout(h_TBH, whole.context, e_TBE))
        return self.decoder_output(r_TBE, memory, whole, h_TBH, e_TBE)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """See `Decoder`."""
        attention = self.attend_rows(memory, self.top(state), state)
        h_NH, layers = self.step_layers(
            torch.cat((e_NE, attention.context), dim=-1), state.layers, first=0
        )
        r_NE = self.readout(h_NH, attention.context, e_NE)
        return self.decoder_output(r_NE, memory, attention, h_NH, e_NE), next_state(
            layers, attention
        )
