"""The base of all decoders; `s2s.nn.decoders.build` has the table of them.

Every decoder runs in two ways, which share parameters and agree to rounding: over a whole target
(teacher forcing) and one step at a time (search).

Dimension letters: T target time, B sentences, N rows, E embedding width, D encoder state width,
H decoder width, S source time, L layers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from s2s.nn.attention import (
    AttentionOutput,
    LoopMemory,
    attend_rows,
    attend_times,
    pooled_scores,
)
from s2s.nn.attention_heads import build_heads
from s2s.nn.attention_scores import build_scores
from s2s.nn.cells.base import Cell, CellState, StepCell
from s2s.nn.cells.build import build_layers
from s2s.nn.dropout import drop_channels
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.pointer import Gate
from s2s.recipe.model import Model, NoAttention


class DecoderOutput(NamedTuple):
    """The input of the output layer: [T, B, ...] and [B, T, S], or [N, ...] and [N, S]."""

    readout: Tensor
    """[..., E]."""
    weights: Tensor | None
    """float32, of attention; None without attention."""
    scores: Tensor | None = None
    """float32; the weights are their softmax."""
    gate: Tensor | None = None
    """float32 [T, B] or [N], the logit of generating instead of copying, if the model copies."""
    kept: Tensor | None = None
    """[B, E], the mask of dropout of the readouts of hard attention."""


class Readout(nn.Module):
    """r = tanh(W [h; c; e] + b), as wide as the embeddings, so that the output matrix can be tied.

    Without e, the previous word, it is Luong's attentional vector; with e, Bahdanau's deep output.
    """

    def __init__(self, widths: tuple[int, ...], embeddings: int) -> None:
        super().__init__()
        self.width = sum(widths)
        self.linear = nn.Linear(self.width, embeddings)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """r [..., E] of parts, concatenated along channels."""
        return torch.tanh(self.linear(torch.cat(parts, dim=-1)))

    def in_loop(self) -> Callable[..., Tensor]:
        """`forward` for a loop over time of training."""
        product = LoopLinear(self.linear.weight, self.linear.bias)
        return lambda *parts: torch.tanh(product(torch.cat(parts, dim=-1)))


def context_width(recipe: Model, source_width: int) -> int:
    """Width of the context that steps read: 0 where the source initializes the decoder alone."""
    attention = recipe.attention
    is_start = isinstance(attention, NoAttention) and attention.context == "start"
    return 0 if is_start else source_width


class Decoder(nn.Module):
    """Recurrent layers, a score function and the bridge to the first state. Abstract."""

    readout: nn.Module
    """Its outputs are what the output layer reads."""
    output_layer_bound = 1.0
    """The largest absolute value of a readout: 1 after a tanh."""
    reads_embedding = True
    """Whether the readout reads the previous word, after its other inputs."""
    context_layer: int | None = None
    """The layer that reads the context, after its other inputs; None if no layer does."""
    first_state = 0
    """The layer that makes the first of a state's layers; those below it hand theirs on to it
    within a step."""

    def __init__(self, recipe: Model, source_width: int, input_widths: list[int]) -> None:
        super().__init__()
        width = recipe.decoder.width
        self.width = width
        self.input_widths = input_widths
        self.source_width = source_width
        self.context_width = context_width(recipe, source_width)
        self.dropout = recipe.dropout.decoder
        self.readout_dropout = recipe.dropout.readout
        layers = build_layers(
            recipe.decoder,
            input_widths,
            width,
            recipe.dropout.recurrent,
            first_state=self.first_state,
        )
        self.layers = nn.ModuleList(layers)
        self.output_bound = max((layer.output_bound for layer in layers), default=1.0)
        widths = (source_width, width)
        self.scores = build_heads(recipe.attention, *widths) or build_scores(
            recipe.attention, *widths
        )
        self.bridge: nn.Linear | None = None
        if source_width and layers:
            self.bridge = nn.Linear(source_width, width * (len(layers) - self.first_state))
            nn.init.xavier_uniform_(self.bridge.weight)
            nn.init.zeros_(self.bridge.bias)
        # From 0 coverage first adds nothing to the scores.
        self.coverage = nn.Parameter(torch.zeros(1)) if recipe.coverage else None
        copies = recipe.copy == "pointer"
        self.gate = Gate(source_width + width + recipe.embeddings) if copies else None
        self.context_gate = Gate(width) if recipe.context_gate else None

    def keys(self, states_BSD: Tensor) -> Tensor:
        """`AttentionScore.keys` of encoder states; the states themselves without attention."""
        return states_BSD if self.scores is None else self.scores.keys(states_BSD)

    def values(self, states_BSD: Tensor) -> Tensor | None:
        """`AttentionScore.values` of encoder states."""
        return None if self.scores is None else self.scores.values(states_BSD)

    def start(self, memory: Memory) -> DecoderState:
        """The first state, which each layer makes of its part of W [last states] + b; without a
        source it is zero."""
        indices = range(self.first_state, len(self.layers))
        if self.bridge is None:
            first_BW = memory.final_BD.new_zeros(len(memory.final_BD), self.width * len(indices))
        else:
            first_BW = self.bridge(memory.final_BD)
        parts = first_BW.chunk(len(indices), dim=-1)
        covered_BS = None
        if self.coverage is not None:
            covered_BS = torch.zeros_like(memory.mask_BS, dtype=torch.float32)
        layers = (
            self.stepper(index).initial(part) for index, part in zip(indices, parts, strict=True)
        )
        return DecoderState(tuple(layers), coverage=covered_BS)

    def attend_rows(
        self,
        memory: Memory,
        query_NH: Tensor,
        state: DecoderState,
        loop_memory: LoopMemory | None = None,
    ) -> AttentionOutput:
        """`attend_rows` of one step's queries, with coverage and the context gate."""
        covered = None
        if self.coverage is not None and state.coverage is not None:
            covered = (self.coverage, state.coverage)
        attention = attend_rows(self.scores, memory, query_NH, covered, loop_memory)
        attention = attention._replace(context=attention.context[..., : self.context_width])
        if self.context_gate is None:
            return attention
        return _gated(attention, self.context_gate.rows(query_NH))

    def attend_times(self, memory: Memory, query_TBH: Tensor) -> AttentionOutput:
        """`attend_times` of the queries of all steps, with coverage and the context gate."""
        attention = attend_times(self.scores, memory, query_TBH, self.coverage)
        attention = attention._replace(context=attention.context[..., : self.context_width])
        if self.context_gate is None:
            return attention
        return _gated(attention, self.context_gate(query_TBH))

    def decoder_output(
        self, readout: Tensor, memory: Memory, attention: AttentionOutput, h: Tensor, e: Tensor
    ) -> DecoderOutput:
        """The output of whole sequences or of rows; h and e as the readout reads them."""
        gate = None
        if self.gate is not None:
            parts = (attention.context, h, e)
            gate = self.gate(*parts) if h.dim() == 3 else self.gate.rows(*parts)
        return DecoderOutput(readout, attention.weights, self._word_scores(memory, attention), gate)

    def _word_scores(self, memory: Memory, attention: AttentionOutput) -> Tensor | None:
        """The scores of copying; without it those of several heads are not needed."""
        if self.scores is None or attention.scores is None or self.scores.heads == 1:
            return attention.scores
        if self.gate is None:
            return None
        sentences, time = memory.mask_BS.shape
        by_sentence = attention.scores.view(sentences, -1, self.scores.heads, time)
        pooled = pooled_scores(by_sentence, ~memory.mask_BS.unsqueeze(1))
        return pooled.view(*attention.scores.shape[:-2], time)

    def layer(self, index: int) -> Cell:
        """Layer `index` of a model in training."""
        layer = self.layers[index]
        assert isinstance(layer, Cell)
        return layer

    def stepper(self, index: int) -> StepCell:
        """Layer `index` of a model in training or in search."""
        return cast(StepCell, self.layers[index])

    def top(self, state: DecoderState) -> Tensor:
        """h [N, H] of the top layer."""
        return self.stepper(len(self.layers) - 1).output(state.layers[-1])

    def layer_bounds(self, embedding_E: Tensor, state_D: Tensor) -> list[Tensor]:
        """The largest absolute value of each input channel of each layer.

        Embeddings are within `embedding_E`. Encoder states are within `state_D`, and so are
        contexts, which are means of them; those of several heads have no bound. Readouts are within
        1 and outputs of layers within `output_bound`.
        """
        if not self.input_widths:
            return []
        first, *upper = self.input_widths
        bounds = [
            embedding_E.new_ones(first),
            *(embedding_E.new_full((width,), self.output_bound) for width in upper),
        ]
        bounds[0][: len(embedding_E)] = embedding_E
        if self.context_layer is not None and self.context_width:
            bounds[self.context_layer][-self.context_width :] = self._context_bound(state_D)
        return bounds

    def readout_bound(self, embedding_E: Tensor, state_D: Tensor) -> Tensor:
        """The same of the readout's input channels."""
        bound_D = embedding_E.new_full((cast(int, self.readout.width),), self.output_bound)
        context_D = self._context_bound(state_D)[: self.context_width]
        bound_D[self.width : self.width + self.context_width] = context_D
        if self.reads_embedding:
            bound_D[-len(embedding_E) :] = embedding_E
        return bound_D

    def _context_bound(self, state_D: Tensor) -> Tensor:
        return state_D if self.scores is None else self.scores.context_bound(state_D)

    def readout_bounds(self, embedding_E: Tensor, state_D: Tensor) -> dict[str, Tensor]:
        """The `nn.Linear` children of the readout that search replaces by products of lower
        precision, by name, with the largest absolute value of each input channel."""
        found = {}
        if self.readout.linear is not None:
            found["linear"] = self.readout_bound(embedding_E, state_D)
        return found

    def drop(self, x_TBD: Tensor) -> Tensor:
        """Variational dropout between layers."""
        return drop_channels(x_TBD, self.dropout, self.training)

    def drop_readout(self, r_TBE: Tensor) -> Tensor:
        """Variational dropout of the readout."""
        return drop_channels(r_TBE, self.readout_dropout, self.training)

    def run_layers(self, x_TBD: Tensor, start: DecoderState, first: int) -> Tensor:
        """Output [T, B, H] of layers `first` and above over whole sequences."""
        for index in range(first, len(self.layers)):
            if index > first:
                x_TBD = self.drop(x_TBD)
            x_TBD, _ = self.layer(index)(x_TBD, start.layers[index])
        return x_TBD

    def step_layers(
        self, x_ND: Tensor, states: Sequence[CellState], first: int
    ) -> tuple[Tensor, list[CellState]]:
        """One step of layers `first` and above, from their states: top output [N, H] and their new
        states."""
        new = []
        for index, state in enumerate(states, start=first):
            layer = self.stepper(index)
            new.append(layer.step(x_ND, state))
            x_ND = layer.output(new[-1])
        return x_ND, new

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """Readouts [T, B, E] and weights [B, T, S] of embedded targets, from the first state."""
        raise AssertionError("abstract")

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """Readout [N, E] and weights [N, S] of one step, and the state after it."""
        raise AssertionError("abstract")


def _gated(attention: AttentionOutput, logits: Tensor) -> AttentionOutput:
    """`attention`, its context times sigmoid(logits [...])."""
    # sigmoid(z) = (tanh(z / 2) + 1) / 2: the kernel of `torch.sigmoid` rounds a tensor's last
    # elements differently, so that a row's result would depend on its place.
    gate = (0.5 * torch.tanh(0.5 * logits) + 0.5).to(attention.context.dtype).unsqueeze(-1)
    return attention._replace(context=attention.context * gate)
