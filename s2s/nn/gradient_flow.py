"""How far gradients reach back in a recurrent layer, exactly.

A layer's step t makes the state s_t of an input x_t and of s_{t-1}. Its output is h_t. Its memory
m_t is the tensor that carries the state on: c of an LSTM and of the elementwise cells, h of the
others (`Cell.memory`). The rest of the model reads h_t and returns the gradient g_t of the loss
with respect to it. What reaches the memory k steps before, through the recurrence of this layer
alone, is

    d_{t,k} = g_t . dh_t / dm_{t-k}

the total derivative: it has the path of an LSTM through h_{t-k} and the gates after it as well as
that through c. All other paths are cut: inputs x are constants, whatever attention, input feeding,
the readout or other layers make of earlier states. For the simple network d_{t,k} is g_t times a
product of k Jacobians, diag(f') U (Bengio et al. 1994; Pascanu et al. 2013, section 2).

For a decoder g_t is that of the loss of step t, for an encoder that of the loss of the whole
target, every output of the layer taken as a variable of its own.

Dimension letters: T steps, B sentences, N rows, D input width, H hidden width, V vocabulary.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.batch import Batch
from s2s.nn.cells.base import Cell, CellState
from s2s.nn.model import Seq2Seq
from s2s.special import PAD


@dataclass(frozen=True)
class LayerTrace:
    """What a layer read in T steps of B sentences, and the gradients of its outputs."""

    cell: Cell
    inputs_TBD: Tensor
    before: CellState
    """The state before each step, tensors [T, B, ...]."""
    gradients_TBH: Tensor
    """g_t."""
    inside_TB: Tensor
    """bool, false at padding."""


class Recorder(nn.Module):
    """A layer that keeps what it reads, and whose outputs are leaves of the graph.

    The state is (h, the layer's state). No gradient passes through it.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell
        self.inputs: list[Tensor] = []
        self.before: list[CellState] = []
        self.outputs: list[Tensor] = []

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        own = self.cell.initial(bridge_NH)
        return (self.cell.output(own), *own)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        x_ND, own = x_ND.detach(), tuple(part.detach() for part in state[1:])
        with torch.no_grad():
            new = self.cell.step(x_ND, own)
        h_NH = self.cell.output(new).detach().clone().requires_grad_()
        self.inputs.append(x_ND)
        self.before.append(own)
        self.outputs.append(h_NH)
        return (h_NH, *new)

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `Cell`."""
        if state is None:
            state = self.initial(x_TBD.new_zeros(x_TBD.shape[1], self.cell.width))
        outputs = []
        for x_BD in x_TBD.unbind(0):
            state = self.step(x_BD, state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def trace(self, gradients: list[Tensor], lengths_B: Tensor) -> LayerTrace:
        """The trace, with a gradient [B, H] for each step."""
        place_T = torch.arange(len(gradients), device=lengths_B.device)
        return LayerTrace(
            self.cell,
            torch.stack(self.inputs),
            tuple(torch.stack(parts) for parts in zip(*self.before, strict=True)),
            torch.stack(gradients),
            place_T.unsqueeze(1) < lengths_B,
        )


@contextmanager
def recorded(layers: nn.ModuleList) -> Iterator[Recorder]:
    """Let the first of these layers be recorded during the block."""
    cell = cast(Cell, layers[0])
    layers[0] = recorder = Recorder(cell)
    try:
        yield recorder
    finally:
        layers[0] = cell


def decoder_trace(model: Seq2Seq, batch: Batch) -> LayerTrace:
    """The decoder's first layer under teacher forcing; g_t of the loss of step t.

    `model` is in evaluation mode and its parameters need no gradients; `batch` is on its device.
    """
    with torch.no_grad():
        memory = model.encode(batch.source, batch.source_lengths, batch.features)
    gradients: list[Tensor] = []
    with recorded(model.decoder.layers) as recorder:
        with torch.no_grad():
            state = model.start(memory)
        steps = zip(batch.target_input.t(), batch.target_output.t(), strict=True)
        for tokens_B, wanted_B in steps:
            step = model.step(memory, state, tokens_B)
            # The sentences do not depend on each other, so the sum has the gradient of each.
            loss = F.cross_entropy(step.logits, wanted_B, ignore_index=PAD, reduction="sum")
            gradients += torch.autograd.grad(loss, recorder.outputs[-1])
            state = replace(
                step.state,
                layers=tuple(tuple(part.detach() for part in one) for one in step.state.layers),
                fed=None if step.state.fed is None else step.state.fed.detach(),
                coverage=None if step.state.coverage is None else step.state.coverage.detach(),
                alignment=_detached(step.state.alignment),
            )
    return recorder.trace(gradients, batch.target_lengths)


def _detached(parts: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
    return None if parts is None else tuple(part.detach() for part in parts)


def encoder_trace(model: Seq2Seq, batch: Batch) -> LayerTrace:
    """The forward direction of the text encoder's first layer; g_t of the whole target's loss.

    `model` and `batch` are as for `decoder_trace`; the model reads text.
    """
    assert model.encoder is not None, "a model that reads text"
    lengths: list[Tensor] = []
    """Steps of the encoder: words alone, where a source has their characters too."""
    hook = model.encoder.register_forward_pre_hook(lambda _, given: lengths.append(given[1]))
    with recorded(model.encoder.forward_layers) as recorder:
        logits_BTV = model(batch.source, batch.source_lengths, batch.target_input, batch.features)
        flat_NV, wanted_N = logits_BTV.flatten(0, 1).float(), batch.target_output.flatten()
        loss = F.cross_entropy(flat_NV, wanted_N, ignore_index=PAD, reduction="sum")
        gradients = torch.autograd.grad(loss, recorder.outputs)
    hook.remove()
    return recorder.trace(list(gradients), lengths[0])


def lag_norms(trace: LayerTrace, lags: int) -> Iterator[Tensor]:
    """Norms of d_{t,k}, float64 [T - k, B] of the steps t from k on, for k = 0, 1, ..., `lags`, as
    far as there are steps.

    Every step is computed again in float64, where a gradient may shrink to 1e-308. The steps of all
    sentences go back together, so that a lag is one step of T * B rows.
    """
    cell = copy.deepcopy(trace.cell).double().requires_grad_(False)
    inputs_TBD, wanted_TBH = trace.inputs_TBD.double(), trace.gradients_TBH.double()
    before = tuple(part.double() for part in trace.before)
    time, batch = trace.inside_TB.shape
    cotangents: CellState = ()
    """g_t . dh_t / ds_{t-k+1}, as if its tensors did not depend on each other."""
    for lag in range(min(lags + 1, time)):
        count = time - lag
        state = tuple(part[:count].flatten(0, 1).requires_grad_() for part in before)
        new = cell.step(inputs_TBD[:count].flatten(0, 1), state)
        outputs: CellState = new if lag else (cell.output(new),)
        seeds = tuple(part.flatten(0, 1) for part in (cotangents if lag else (wanted_TBH,)))
        memory_NH, *parts = torch.autograd.grad(
            outputs, (cell.memory(new), *state), seeds, allow_unused=True, materialize_grads=True
        )
        yield memory_NH.view(count, batch, -1).norm(dim=-1)
        # What steps back from the first step on is the first state, which is no step's.
        cotangents = tuple(part.view(count, batch, -1)[1:] for part in parts)
