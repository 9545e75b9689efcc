"""Decoders, under the names the literature gives their wirings.

Every decoder runs in two ways that share parameters and agree to rounding: a whole target at once
(teacher forcing) and step by step (search). Where attention feeds nothing back, the first runs
fused LSTM kernels over the whole target and attends to all steps in two products; where it does,
only the recurrence is a loop.

Dimension letters: T target time, B sentences, N rows, E embedding width, D source state width,
H decoder width, S source time, L layers.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, assert_never, cast

import torch
from torch import Tensor, nn

from s2s.nn.attention import build_scores
from s2s.nn.dropout import channel_mask, drop_channels
from s2s.nn.memory import Attended, DecoderState, Memory, Sought, attend_rows, attend_times
from s2s.nn.pointer import Gate
from s2s.nn.repeated import Repeated
from s2s.nn.rnn import LSTMLayer, Recurrence
from s2s.recipe import (
    BahdanauDecoder,
    LuongDecoder,
    Model,
    StackedDecoder,
)


class Decoded(NamedTuple):
    """What is below the output layer, [T, B, ...] and [B, T, S] or [N, ...] and [N, S]."""

    readout: Tensor
    """[..., E]."""
    weights: Tensor | None
    """float32, the attention; None for the bottleneck."""
    scores: Tensor | None = None
    """float32, whose softmax the weights are."""
    gate: Tensor | None = None
    """float32 [T, B] or [N], the logit of generating rather than copying, where a model copies."""


class LSTMStep(Protocol):
    """A recurrent layer as a decoding step uses it: one that trains, or one packed for search."""

    def step(self, x_ND: Tensor, state: tuple[Tensor, Tensor], /) -> tuple[Tensor, Tensor]:
        """One step from (h, c), each [N, H], to the next."""
        ...


class Readout(nn.Module):
    """r = tanh(W [h; c; e] + b), as wide as the embeddings, so that the output matrix can be tied.

    Without e, the word before, it is Luong's attentional state; with it, Bahdanau's deep output.
    """

    def __init__(self, widths: tuple[int, ...], embeddings: int) -> None:
        super().__init__()
        self.width = sum(widths)
        self.linear = nn.Linear(self.width, embeddings)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """r [..., E] of parts that are concatenated along channels."""
        return torch.tanh(self.linear(torch.cat(parts, dim=-1)))

    def in_loop(self) -> Callable[..., Tensor]:
        """`forward` for a loop over time of training."""
        product = Repeated(self.linear.weight, self.linear.bias)
        return lambda *parts: torch.tanh(product(torch.cat(parts, dim=-1)))


class Decoder(nn.Module):
    """What all wirings share: layers, the score function, the bridge to the first state."""

    readout: Readout
    reads_embedding = True
    """Whether the readout reads the word before, behind all else."""
    context_layer: int | None = None
    """The layer that reads the context, behind all else; none in some."""

    def __init__(self, recipe: Model, source_width: int, input_widths: list[int]) -> None:
        super().__init__()
        width = recipe.decoder.width
        self.width = width
        self.input_widths = input_widths
        self.source_width = source_width
        self.dropout = recipe.dropout.decoder
        self.readout_dropout = recipe.dropout.readout
        self.layers = nn.ModuleList(LSTMLayer(w, width) for w in input_widths)
        self.scores = build_scores(recipe.attention, source_width, width)
        self.bridge = nn.Linear(source_width, width * len(input_widths))
        nn.init.xavier_uniform_(self.bridge.weight)
        nn.init.zeros_(self.bridge.bias)
        # At first coverage adds nothing, and nothing has to be unlearned.
        self.coverage = nn.Parameter(torch.zeros(1)) if recipe.coverage else None
        copies = recipe.copy == "pointer"
        self.gate = Gate(source_width + width + recipe.embeddings) if copies else None
        self.context_gate = Gate(width) if recipe.context_gate else None

    def keys(self, states_BSD: Tensor) -> Tensor:
        """The source's share of the attention score, computed once per sentence."""
        return states_BSD if self.scores is None else self.scores.keys(states_BSD)

    def start(self, memory: Memory) -> DecoderState:
        """c_0 = W [last states] + b and h_0 = tanh(c_0), for each layer."""
        cells = self.bridge(memory.final_BD).chunk(len(self.layers), dim=-1)
        covered_BS = None
        if self.coverage is not None:
            covered_BS = torch.zeros_like(memory.mask_BS, dtype=torch.float32)
        return DecoderState(
            hidden=tuple(torch.tanh(c) for c in cells), cell=cells, coverage=covered_BS
        )

    def attend_rows(
        self, memory: Memory, query_NH: Tensor, state: DecoderState, sought: Sought | None = None
    ) -> Attended:
        """What one step's queries find, as `attend_rows`."""
        covered = None
        if self.coverage is not None and state.coverage is not None:
            covered = (self.coverage, state.coverage)
        found = attend_rows(self.scores, memory, query_NH, covered, sought)
        if self.context_gate is None:
            return found
        return _gated(found, self.context_gate.rows(query_NH))

    def attend_times(self, memory: Memory, query_TBH: Tensor) -> Attended:
        """What the queries of all steps find, as `attend_times`."""
        found = attend_times(self.scores, memory, query_TBH, self.coverage)
        if self.context_gate is None:
            return found
        return _gated(found, self.context_gate(query_TBH))

    def decoded(self, readout: Tensor, found: Attended, h: Tensor, e: Tensor) -> Decoded:
        """What steps come to, whole sequences or rows; h is what the readout read."""
        gate = None
        if self.gate is not None:
            parts = (found.context, h, e)
            gate = self.gate(*parts) if h.dim() == 3 else self.gate.rows(*parts)
        return Decoded(readout, found.weights, found.scores, gate)

    def layer(self, index: int) -> LSTMLayer:
        """Layer `index`, typed."""
        layer = self.layers[index]
        assert isinstance(layer, LSTMLayer)
        return layer

    def stepper(self, index: int) -> LSTMStep:
        """Layer `index` as a decoding step uses it."""
        return cast(LSTMStep, self.layers[index])

    def layer_bounds(self, embedding_E: Tensor, state_D: Tensor) -> list[Tensor]:
        """What the absolute value of each input channel of each layer does not exceed.

        Embeddings are within `embedding_E`, encoder states and therefore contexts, being means of
        them, within `state_D`; everything else is a state of an LSTM or a tanh, and within 1.
        """
        bounds = [embedding_E.new_ones(width) for width in self.input_widths]
        bounds[0][: len(embedding_E)] = embedding_E
        if self.context_layer is not None:
            bounds[self.context_layer][-len(state_D) :] = state_D
        return bounds

    def readout_bound(self, embedding_E: Tensor, state_D: Tensor) -> Tensor:
        """The same of the readout's input channels."""
        bound_D = embedding_E.new_ones(self.readout.width)
        bound_D[self.width : self.width + len(state_D)] = state_D
        if self.reads_embedding:
            bound_D[-len(embedding_E) :] = embedding_E
        return bound_D

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
            new.append(self.stepper(index).step(x_ND, state.layer(index)))
            x_ND = new[-1][0]
        return x_ND, new

    def recurrences(self, start: int) -> list[Recurrence]:
        """The layers for a loop over time; the first is given input channels from `start` on."""
        layers = [self.layer(index) for index in range(len(self.layers))]
        return [Recurrence(layers[0], start), *map(Recurrence, layers[1:])]

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> Decoded:
        """Readouts [T, B, E] and weights [B, T, S] of embedded targets, from the first state."""
        raise AssertionError("abstract")

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[Decoded, DecoderState]:
        """Readout [N, E] and weights [N, S] of one step, and the state after it."""
        raise AssertionError("abstract")


def _gated(found: Attended, logits: Tensor) -> Attended:
    """What was found, times sigmoid(logits [...])."""
    gate = torch.sigmoid(logits).to(found.context.dtype).unsqueeze(-1)
    return found._replace(context=found.context * gate)


def _state(
    layers: list[tuple[Tensor, Tensor]], found: Attended, fed: Tensor | None = None
) -> DecoderState:
    hidden, cell = tuple(h for h, _ in layers), tuple(c for _, c in layers)
    return DecoderState(hidden, cell, fed, found.coverage)


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
        layers, readout = self.recurrences(self.embeddings), self.readout.in_loop()
        sought = Sought.of(self.scores, memory)
        # Of the type of readouts, not of embeddings.
        like_TBE = gates_TBG[..., : self.embeddings]
        drop_BE = _step_mask(like_TBE, self.readout_dropout, self.training)
        readouts, hs, looks = [], [], []
        for gates_BG in gates_TBG.unbind(0):
            assert state.fed is not None
            h_BH, new = _climb_loop(layers, gates_BG, state.fed, state)
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
        layers, sought = self.recurrences(self.embeddings), Sought.of(self.scores, memory)
        hs, looks = [], []
        for gates_BG in gates_TBG.unbind(0):
            found = self.attend_rows(memory, state.hidden[-1], state, sought)
            found = found._replace(context=_times(found.context, drop_BD))
            h_BH, new = _climb_loop(layers, gates_BG, found.context, state)
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


def _climb_loop(
    layers: list[Recurrence], gates_NG: Tensor, x_ND: Tensor, state: DecoderState
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """`Decoder.climb_step` of all layers in a loop; the first reads `x` and what `gates` hold."""
    new = [layers[0](x_ND, state.layer(0), gates_NG)]
    for index in range(1, len(layers)):
        new.append(layers[index](new[-1][0], state.layer(index)))
    return new[-1][0], new


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
