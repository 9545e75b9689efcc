"""The conditional recurrence of Sennrich et al. 2017: two cells a step, attention between them.

Dimension letters: T target time, B sentences, N rows, E embedding width, D encoder state width,
H decoder width, G width of a projected input.
"""

import torch
from torch import Tensor

from s2s.nn.attention import LoopMemory
from s2s.nn.decoders.base import Decoder, DecoderOutput, Readout
from s2s.nn.decoders.loop import LoopLayers, apply_mask, next_state, stack_steps, step_mask
from s2s.nn.memory import DecoderState, Memory
from s2s.recipe.model import ConditionalDecoder, Model


class Conditional(Decoder):
    """s'_i = LSTM_1(e_i, s_{i-1}); c_i attends with s'_i; s_i = LSTM_2(c_i, s'_i); r_i reads s_i,
    c_i, e_i.

    Sennrich et al. 2017 ("Nematus"), section 2, whose cells are GRUs; of an LSTM the whole state
    (h, c) goes through both cells. Further layers read s_i.
    """

    context_layer = 1
    first_state = 1

    def __init__(self, recipe: Model, section: ConditionalDecoder, source_width: int) -> None:
        upper = [section.width] * (section.layers - 1)
        super().__init__(recipe, source_width, [recipe.embeddings, source_width, *upper])
        self.embeddings = recipe.embeddings
        widths = (section.width, source_width, recipe.embeddings)
        self.readout: Readout = Readout(widths, recipe.embeddings)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """See `Decoder`; only attention and recurrence are a loop over time."""
        state, lower = self.start(memory), self.layer(0)
        projected_TBG = lower.project(e_TBE)
        drop_BD = step_mask(memory.final_BD[None], self.dropout, self.training)
        attending, nothing_BE = lower.in_loop(self.embeddings), e_TBE[0, :, :0]
        run_layers, loop_memory = LoopLayers(self, first=1), LoopMemory.of(self.scores, memory)
        hs, attentions = [], []
        for projected_BG in projected_TBG.unbind(0):
            asking = attending(nothing_BE, state.layers[0], projected_BG)
            attention = self.attend_rows(memory, lower.output(asking), state, loop_memory)
            attention = attention._replace(context=apply_mask(attention.context, drop_BD))
            h_BH, new = run_layers(attention.context, (asking, *state.layers[1:]))
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
        lower = self.stepper(0)
        asking = lower.step(e_NE, state.layers[0])
        attention = self.attend_rows(memory, lower.output(asking), state)
        states = (asking, *state.layers[1:])
        h_NH, layers = self.step_layers(attention.context, states, first=1)
        r_NE = self.readout(h_NH, attention.context, e_NE)
        output = self.decoder_output(r_NE, memory, attention, h_NH, e_NE)
        return output, next_state(layers, attention)
