"""Decoders, under the names the literature gives their wirings.

Every decoder runs in two ways that share parameters and agree to rounding: a whole target at once
(teacher forcing) and step by step (search). Where attention feeds nothing back, the first runs
fused LSTM kernels over the whole target and attends to all steps in two products; where it does,
only the recurrence is a loop.

Dimension letters: T target time, B sentences, N rows, E embedding width, D source state width,
H decoder width, S source time, L layers.
"""

from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn

from s2s.nn.attention import build_scores
from s2s.nn.dropout import channel_mask, drop_channels
from s2s.nn.memory import DecoderState, Memory, attend_rows, attend_times
from s2s.nn.rnn import LSTMLayer
from s2s.recipe import (
    BahdanauDecoder,
    LuongDecoder,
    Model,
    StackedDecoder,
)


class Decoded(NamedTuple):
    """Readouts [..., E] below the output layer, and attention weights (None for the bottleneck)."""

    readout: Tensor
    weights: Tensor | None


class Readout(nn.Module):
    """r = tanh(W [h; c; e] + b), as wide as the embeddings, so that the output matrix can be tied.

    Without e, the word before, it is Luong's attentional state; with it, Bahdanau's deep output.
    """

    def __init__(self, widths: tuple[int, ...], embeddings: int) -> None:
        super().__init__()
        self.linear = nn.Linear(sum(widths), embeddings)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """r [..., E] of parts that are concatenated along channels."""
        return torch.tanh(self.linear(torch.cat(parts, dim=-1)))


class Decoder(nn.Module):
    """What all wirings share: layers, the score function, the bridge to the first state."""

    def __init__(self, recipe: Model, source_width: int, input_widths: list[int]) -> None:
        super().__init__()
        width = recipe.decoder.width
        self.width = width
        self.dropout = recipe.dropout.decoder
        self.readout_dropout = recipe.dropout.readout
        self.layers = nn.ModuleList(LSTMLayer(w, width) for w in input_widths)
        self.scores = build_scores(recipe.attention, source_width, width)
        self.bridge = nn.Linear(source_width, width * len(input_widths))
        nn.init.xavier_uniform_(self.bridge.weight)
        nn.init.zeros_(self.bridge.bias)

    def keys(self, states_BSD: Tensor) -> Tensor:
        """The source's share of the attention score, computed once per sentence."""
        return states_BSD if self.scores is None else self.scores.keys(states_BSD)

    def start(self, memory: Memory) -> DecoderState:
        """c_0 = W [last states] + b and h_0 = tanh(c_0), for each layer."""
        cells = self.bridge(memory.final_BD).chunk(len(self.layers), dim=-1)
        return DecoderState(hidden=tuple(torch.tanh(c) for c in cells), cell=cells)

    def layer(self, index: int) -> LSTMLayer:
        """Layer `index`, typed."""
        layer = self.layers[index]
        assert isinstance(layer, LSTMLayer)
        return layer

    def drop(self, x_TBD: Tensor) -> Tensor:
        """Variational dropout between layers."""
        return drop_channels(x_TBD, self.dropout, self.training)

    def drop_readout(self, r_TBE: Tensor) -> Tensor:
        """Variational dropout of the readout."""
        return drop_channels(r_TBE, self.readout_dropout, self.training)

    def climb(self, x_TBD: Tensor, start: DecoderState, first: int) -> Tensor:
        """Output [T, B, H] of layers `first` and above over whole sequences."""
        for index in range(first, len(self.layers)):
            if index > first:
                x_TBD = self.drop(x_TBD)
            x_TBD, _ = self.layer(index)(x_TBD, start.layer(index))
        return x_TBD

    def climb_step(
        self, x_ND: Tensor, state: DecoderState, first: int
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """One step of layers `first` and above: top output [N, H] and their new (h, c)."""
        new = []
        for index in range(first, len(self.layers)):
            new.append(self.layer(index).step(x_ND, state.layer(index)))
            x_ND = new[-1][0]
        return x_ND, new

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> Decoded:
        """Readouts [T, B, E] and weights [B, T, S] of embedded targets, from the first state."""
        raise AssertionError("abstract")

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """Readout [N, E] and weights [N, S] of one step, and the state after it."""
        raise AssertionError("abstract")


def _state(layers: list[tuple[Tensor, Tensor]], fed: Tensor | None = None) -> DecoderState:
    return DecoderState(tuple(h for h, _ in layers), tuple(c for _, c in layers), fed)


class Luong(Decoder):
    """h_i = LSTM(e_i, h_{i-1}); c_i attends with h_i; r_i = tanh(W [h_i; c_i]).

    Luong et al. 2015, section 3. In their input feeding (section 3.3) the first layer reads
    [e_i; r_{i-1}].
    """

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
        return DecoderState(state.hidden, state.cell, zeros)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> Decoded:
        """See `Decoder`; a loop only with input feeding."""
        state = self.start(memory)
        if self.input_feeding:
            return self._loop(memory, state, e_TBE)
        h_TBH = self.climb(e_TBE, state, first=0)
        c_TBD, weights_BTS = attend_times(self.scores, memory, h_TBH)
        return Decoded(self.drop_readout(self.readout(self.drop(h_TBH), c_TBD)), weights_BTS)

    def _loop(self, memory: Memory, state: DecoderState, e_TBE: Tensor) -> Decoded:
        layer, width = self.layer(0), self.embeddings
        gates_TBG = layer.project(e_TBE)
        drop_BE = _step_mask(e_TBE, self.readout_dropout, self.training)
        readouts, weights = [], []
        for gates_BG in gates_TBG.unbind(0):
            assert state.fed is not None
            first = layer.step_projected(gates_BG, state.layer(0), (state.fed, width))
            h_BH, upper = self.climb_step(first[0], state, first=1)
            c_BD, weights_BS = attend_rows(self.scores, memory, h_BH)
            readouts.append(_times(self.readout(h_BH, c_BD), drop_BE))
            weights.append(weights_BS)
            state = _state([first, *upper], readouts[-1])
        return Decoded(torch.stack(readouts), _stack_weights(weights))

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Decoder`."""
        x_ND = e_NE if state.fed is None else torch.cat((e_NE, state.fed), dim=-1)
        h_NH, layers = self.climb_step(x_ND, state, first=0)
        c_ND, weights_NS = attend_rows(self.scores, memory, h_NH)
        r_NE = self.readout(h_NH, c_ND)
        fed = r_NE if self.input_feeding else None
        return Decoded(r_NE, weights_NS), _state(layers, fed)


class Bahdanau(Decoder):
    """c_i attends with h_{i-1}; h_i = LSTM([e_i; c_i], h_{i-1}); r_i reads h_i, c_i, e_i.

    Bahdanau et al. 2015, section 3.1 and appendix A.2 (the cell there is a GRU, the readout a
    maxout). With several layers the top one attends and the first reads the context.
    """

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
        hs, cs, weights = [], [], []
        for gates_BG in gates_TBG.unbind(0):
            c_BD, weights_BS, layers = self._recur(memory, state, gates_BG, drop_BD)
            state = _state(layers)
            hs.append(layers[-1][0])
            cs.append(c_BD)
            weights.append(weights_BS)
        h_TBH = self.drop(torch.stack(hs))
        r_TBE = self.drop_readout(self.readout(h_TBH, torch.stack(cs), e_TBE))
        return Decoded(r_TBE, _stack_weights(weights))

    def _recur(
        self, memory: Memory, state: DecoderState, gates_NG: Tensor, drop_ND: Tensor | None
    ) -> tuple[Tensor, Tensor | None, list[tuple[Tensor, Tensor]]]:
        c_ND, weights_NS = attend_rows(self.scores, memory, state.hidden[-1])
        c_ND = _times(c_ND, drop_ND)
        first = self.layer(0).step_projected(gates_NG, state.layer(0), (c_ND, self.embeddings))
        _, upper = self.climb_step(first[0], state, first=1)
        return c_ND, weights_NS, [first, *upper]

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Decoder`."""
        gates_NG = self.layer(0).project(e_NE)
        c_ND, weights_NS, layers = self._recur(memory, state, gates_NG, None)
        return Decoded(self.readout(layers[-1][0], c_ND, e_NE), weights_NS), _state(layers)


class Stacked(Decoder):
    """h1_i = LSTM(e_i); c_i attends with it; h2_i = LSTM([h1_i; c_i]); r_i reads h2_i, c_i, e_i.

    The conditional recurrence of dl4mt (Firat & Cho 2016; Sennrich et al. 2017, section 4.1) less
    its feedback of h2 into layer 1, and therefore without a loop over time in training.
    """

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
        c_TBD, weights_BTS = attend_times(self.scores, memory, h_TBH)
        top_TBH = self.climb(self.drop(torch.cat((h_TBH, c_TBD), dim=-1)), state, first=1)
        r_TBE = self.readout(self.drop(top_TBH), c_TBD, e_TBE)
        return Decoded(self.drop_readout(r_TBE), weights_BTS)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """See `Decoder`."""
        first = self.layer(0).step(e_NE, state.layer(0))
        c_ND, weights_NS = attend_rows(self.scores, memory, first[0])
        x_ND = torch.cat((first[0], c_ND), dim=-1)
        h_NH, upper = self.climb_step(x_ND, state, first=1)
        return Decoded(self.readout(h_NH, c_ND, e_NE), weights_NS), _state([first, *upper])


def _step_mask(like_TBD: Tensor, rate: float, training: bool) -> Tensor | None:
    """A variational mask [B, D] for a loop over time; None when nothing is dropped."""
    return channel_mask(like_TBD, rate, None)[0] if training and rate > 0 else None


def _times(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _stack_weights(weights: list[Tensor | None]) -> Tensor | None:
    """[B, T, S] from T times [B, S]."""
    known = [w for w in weights if w is not None]
    return torch.stack(known, dim=1) if known else None


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
