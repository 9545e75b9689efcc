"""Two layers with attention between them, after the conditional recurrence of dl4mt.

Dimension letters: T target time, B sentences, N rows, E embedding width, D input width,
H decoder width.
"""

import torch
from torch import Tensor

from s2s.nn.decoders.base import Decoder, DecoderOutput, Readout
from s2s.nn.decoders.loop import next_state
from s2s.nn.memory import DecoderState, Memory
from s2s.recipe.model import Model, StackedDecoder


class Stacked(Decoder):
    """h1_i = LSTM(e_i); c_i attends with it; h2_i = LSTM([h1_i; c_i]); r_i reads h2_i, c_i, e_i.

    The conditional recurrence of dl4mt (Firat & Cho 2016; Sennrich et al. 2017, section 4.1)
    without its feedback of h2 into layer 1, so that training needs no loop over time.
    """

    context_layer = 1

    def __init__(self, recipe: Model, section: StackedDecoder, source_width: int) -> None:
        upper = [section.width] * (section.layers - 2)
        second = section.width + source_width
        super().__init__(recipe, source_width, [recipe.embeddings, second, *upper])
        widths = (section.width, source_width, recipe.embeddings)
        self.readout: Readout = Readout(widths, recipe.embeddings)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """See `Decoder`; no loop over time."""
        state = self.start(memory)
        h_TBH, _ = self.layer(0)(e_TBE, state.layers[0])
        attention = self.attend_times(memory, h_TBH)
        x_TBD = torch.cat((h_TBH, attention.context), dim=-1)
        top_TBH = self.drop(self.run_layers(self.drop(x_TBD), state, first=1))
        r_TBE = self.drop_readout(self.readout(top_TBH, attention.context, e_TBE))
        return self.decoder_output(r_TBE, memory, attention, top_TBH, e_TBE)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """See `Decoder`."""
        lower = self.stepper(0)
        first = lower.step(e_NE, state.layers[0])
        query_NH = lower.output(first)
        attention = self.attend_rows(memory, query_NH, state)
        x_ND = torch.cat((query_NH, attention.context), dim=-1)
        h_NH, upper = self.step_layers(x_ND, state.layers[1:], first=1)
        r_NE = self.readout(h_NH, attention.context, e_NE)
        return self.decoder_output(r_NE, memory, attention, h_NH, e_NE), next_state(
            [first, *upper], attention
        )
