"""The wirings of decoders, under the names the literature gives them.

Where attention feeds nothing back, teacher forcing runs fused LSTM kernels over the whole
target and attends to all steps in two products; where it does, only the recurrence is a loop.

Dimension letters: T target time, B sentences, N rows, E embedding width, D source state width,
H decoder width, S source time, G gates of a layer (4 H).
"""

from typing import assert_never

import torch
from torch import Tensor

from s2s.nn.decoder import Decoded, Decoder, Readout
from s2s.nn.dropout import channel_mask
from s2s.nn.memory import Attended, DecoderState, Memory, Sought
from s2s.nn.rnn import Recurrence
from s2s.recipe import (
    BahdanauDecoder,
    LuongDecoder,
    Model,
    StackedDecoder,
)


def _state(
    layers: list[tuple[Tensor, Tensor]], found: Attended, fed: Tensor | None = None
) -> DecoderState:
    hidden, cell = tuple(h for h, _ in layers), tuple(c for _, c in layers)
    return DecoderState(hidden, cell, fed, found.coverage)


class _LoopedLayers:
    """`Decoder.climb_step` of all layers, for a loop over time of training.

    Of the first layer's input, channels from `start` on are given at each step.
    """

    def __init__(self, decoder: Decoder, start: int) -> None:
        first, *upper = (decoder.layer(index) for index in range(len(decoder.layers)))
        self.layers = [Recurrence(first, start), *map(Recurrence, upper)]

    def __call__(
        self, x_ND: Tensor, state: DecoderState, gates_NG: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """`gates` are what the first layer makes of the other channels."""
        new = [self.layers[0](x_ND, state.layer(0), gates_NG)]
        for index, layer in enumerate(self.layers[1:], start=1):
            new.append(layer(new[-1][0], state.layer(index)))
        return new[-1][0], new


class Luong(Decoder):
    """h_i = LSTM(e_i, h_{i-1}); c_i attends with h_i; r_i = tanh(W [h_i; c_i]).

    Luong et al. 2015, section 3. In their input feeding (section 3.3) the first layer reads
    [e_i; r_{i-1}].
    """

    reads_embedding = False

    def __init__(self, recipe: Model, wiring: LuongDecoder, source_width: int) -> None:
        fed = recipe.embeddings if wiring.input_feeding else 0
        upper = [wiring.width] * (wiring.layers - 1)
        super().__init__(recipe, source_width, [recipe.embeddings + fed, *upper])
        self.input_feeding = wiring.input_feeding
        self.embeddings = recipe.embeddings
        self.readout = Readout((wiring.width, source_width), recipe.embeddings)

    def start(self, memory: Memory) -> DecoderState:
        """As every decoder, with r_0 = 0 where it is fed."""
        state = super().start(memory)
        if not self.input_feeding:
            return state
        zeros = state.hidden[0].new_zeros(state.hidden[0].shape[0], self.embeddings)
        return DecoderState(state.hidden, state.cell, zeros, state.coverage)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> Decoded:
        """See `Decoder`; a loop only with input feeding."""
        state = self.start(memory)
        if self.input_feeding:
            return self._loop(memory, state, e_TBE)
        h_TBH = self.climb(e_TBE, state, first=0)
        found = self.attend_times(memory, h_TBH)
        h_TBH = self.drop(h_TBH)
        r_TBE = self.drop_readout(self.readout(h_TBH, found.context))
        return self.decoded(r_TBE, found, h_TBH, e_TBE)

    def _loop(self, memory: Memory, state: DecoderState, e_TBE: Tensor) -> Decoded:
        gates_TBG = self.layer(0).project(e_TBE)
        climb, readout = _LoopedLayers(self, self.embeddings), self.readout.in_loop()
        sought = Sought.of(self.scores, memory)
        # Of the type of readouts, not of embeddings.
        like_TBE = gates_TBG[..., : self.embeddings]
        drop_BE = _step_mask(like_TBE, self.readout_dropout, self.training)
        readouts, hs, looks = [], [], []
        for gates_BG in gates_TBG.unbind(0):
            assert state.fed is not None
            h_BH, new = climb(state.fed, state, gates_BG)
            found = self.attend_rows(memory, h_BH, state, sought)
            readouts.append(_times(readout(h_BH, found.context), drop_BE))
            hs.append(h_BH)
            looks.append(found)
            state = _state(new, found, readouts[-1])
        return self.decoded(torch.stack(readouts), _stack(looks), torch.stack(hs), e_TBE)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Decoder`."""
        x_ND = e_NE if state.fed is None else torch.cat((e_NE, state.fed), dim=-1)
        h_NH, layers = self.climb_step(x_ND, state, first=0)
        found = self.attend_rows(memory, h_NH, state)
        r_NE = self.readout(h_NH, found.context)
        fed = r_NE if self.input_feeding else None
        return self.decoded(r_NE, found, h_NH, e_NE), _state(layers, found, fed)


class Bahdanau(Decoder):
    """c_i attends with h_{i-1}; h_i = LSTM([e_i; c_i], h_{i-1}); r_i reads h_i, c_i, e_i.

    Bahdanau et al. 2015, section 3.1 and appendix A.2 (the cell there is a GRU, the readout a
    maxout). With several layers the top one attends and the first reads the context.
    """

    context_layer = 0

    def __init__(self, recipe: Model, wiring: BahdanauDecoder, source_width: int) -> None:
        upper = [wiring.width] * (wiring.layers - 1)
        super().__init__(recipe, source_width, [recipe.embeddings + source_width, *upper])
        self.embeddings = recipe.embeddings
        widths = (wiring.width, source_width, recipe.embeddings)
        self.readout = Readout(widths, recipe.embeddings)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> Decoded:
        """See `Decoder`; attention and recurrence are a loop, all else is done for all steps."""
        state = self.start(memory)
        gates_TBG = self.layer(0).project(e_TBE)
        drop_BD = _step_mask(memory.final_BD.unsqueeze(0), self.dropout, self.training)
        climb, sought = _LoopedLayers(self, self.embeddings), Sought.of(self.scores, memory)
        hs, looks = [], []
        for gates_BG in gates_TBG.unbind(0):
            found = self.attend_rows(memory, state.hidden[-1], state, sought)
            found = found._replace(context=_times(found.context, drop_BD))
            h_BH, new = climb(found.context, state, gates_BG)
            state = _state(new, found)
            hs.append(h_BH)
            looks.append(found)
        h_TBH, whole = self.drop(torch.stack(hs)), _stack(looks)
        r_TBE = self.drop_readout(self.readout(h_TBH, whole.context, e_TBE))
        return self.decoded(r_TBE, whole, h_TBH, e_TBE)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Decoder`."""
        found = self.attend_rows(memory, state.hidden[-1], state)
        h_NH, layers = self.climb_step(torch.cat((e_NE, found.context), dim=-1), state, first=0)
        r_NE = self.readout(h_NH, found.context, e_NE)
        return self.decoded(r_NE, found, h_NH, e_NE), _state(layers, found)


class Stacked(Decoder):
    """h1_i = LSTM(e_i); c_i attends with it; h2_i = LSTM([h1_i; c_i]); r_i reads h2_i, c_i, e_i.

    The conditional recurrence of dl4mt (Firat & Cho 2016; Sennrich et al. 2017, section 4.1) less
    its feedback of h2 into layer 1, and therefore without a loop over time in training.
    """

    context_layer = 1

    def __init__(self, recipe: Model, wiring: StackedDecoder, source_width: int) -> None:
        upper = [wiring.width] * (wiring.layers - 2)
        second = wiring.width + source_width
        super().__init__(recipe, source_width, [recipe.embeddings, second, *upper])
        widths = (wiring.width, source_width, recipe.embeddings)
        self.readout = Readout(widths, recipe.embeddings)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> Decoded:
        """See `Decoder`; no loop over time."""
        state = self.start(memory)
        h_TBH, _ = self.layer(0)(e_TBE, state.layer(0))
        found = self.attend_times(memory, h_TBH)
        x_TBD = torch.cat((h_TBH, found.context), dim=-1)
        top_TBH = self.drop(self.climb(self.drop(x_TBD), state, first=1))
        r_TBE = self.drop_readout(self.readout(top_TBH, found.context, e_TBE))
        return self.decoded(r_TBE, found, top_TBH, e_TBE)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Decoder`."""
        first = self.stepper(0).step(e_NE, state.layer(0))
        found = self.attend_rows(memory, first[0], state)
        x_ND = torch.cat((first[0], found.context), dim=-1)
        h_NH, upper = self.climb_step(x_ND, state, first=1)
        r_NE = self.readout(h_NH, found.context, e_NE)
        return self.decoded(r_NE, found, h_NH, e_NE), _state([first, *upper], found)


def _step_mask(like_TBD: Tensor, rate: float, training: bool) -> Tensor | None:
    """A variational mask [B, D] for a loop over time; None when nothing is dropped."""
    return channel_mask(like_TBD, rate, None)[0] if training and rate > 0 else None


def _times(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _stack(looks: list[Attended]) -> Attended:
    """Contexts [T, B, D], weights and scores [B, T, S] of T steps."""
    weights = [look.weights for look in looks if look.weights is not None]
    scores = [look.scores for look in looks if look.scores is not None]
    return Attended(
        torch.stack([look.context for look in looks]),
        torch.stack(weights, dim=1) if weights else None,
        torch.stack(scores, dim=1) if scores else None,
    )


def build_decoder(recipe: Model, source_width: int) -> Decoder:
    """The wiring a recipe asks for, over source states of `source_width`."""
    match recipe.decoder:
        case LuongDecoder() as wiring:
            return Luong(recipe, wiring, source_width)
        case BahdanauDecoder() as wiring:
            return Bahdanau(recipe, wiring, source_width)
        case StackedDecoder() as wiring:
            return Stacked(recipe, wiring, source_width)
        case _:
            assert_never(recipe.decoder)
