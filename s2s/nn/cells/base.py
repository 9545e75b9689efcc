"""The interface of a recurrent layer, whose state no other code looks into.

`s2s.nn.cells.build` has the table of cells. A new one is a subclass of `Cell` in a file of its own,
and a line in that table.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width, G width of a
projected input (of an LSTM 4 H).
"""

import copy
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from s2s.recipe.cells import RecurrentInit
from s2s.recipe.choices import SearchPrecision

CellState = tuple[Tensor, ...]
"""The state of N rows, tensors [N, ...]. Only the cell that made it reads it."""


class StepCell(Protocol):
    """A recurrent layer that runs one step at a time: a `Cell`, or its form for search."""

    def initial(self, bridge_NH: Tensor, /) -> CellState:
        """The first state, of a projection of the encoded source. Of zeros it is the zero state."""
        ...

    def step(self, x_ND: Tensor, state: CellState, /) -> CellState:
        """The state after one input."""
        ...

    def output(self, state: CellState, /) -> Tensor:
        """h [N, H] of a state."""
        ...


class LoopCell(Protocol):
    """A recurrent layer in a loop over time of training, with weights laid out once."""

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None, /
    ) -> CellState:
        """The state after one input, of which `Cell.project` has projected the first channels."""
        ...


class Cell(nn.Module):
    """A unidirectional recurrent layer, over whole sequences or one step at a time. Abstract."""

    output_bound = 1.0
    """The largest absolute value of an output: 1 after a tanh, infinite if there is none."""
    is_kernel = False
    """Whether `forward` is one kernel on a CPU, which search may use if its sentences turn out to
    be independent; search computes other cells by products whose rows are."""

    def __init__(self, input_width: int, width: int, recurrent_dropout: float = 0.0) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = width
        self.recurrent_dropout = recurrent_dropout

    @property
    def multiplications(self) -> int:
        """Multiplications of one step of one row, those of matrix products alone."""
        raise AssertionError("abstract")

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """Outputs [T, B, H] and the last state, from a state (of zeros if None).

        This loop over time suits a cell without a kernel.
        """
        if state is None:
            state = self.initial(x_TBD.new_zeros(x_TBD.shape[1], self.width))
        step, nothing_BD = self.in_loop(self.input_width), x_TBD[0, :, :0]
        outputs = []
        for projected_BG in self.project(x_TBD).unbind(0):
            state = step(nothing_BD, state, projected_BG)
            outputs.append(self.output(state))
        return torch.stack(outputs), state

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        raise AssertionError("abstract")

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        raise AssertionError("abstract")

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        raise AssertionError("abstract")

    def memory(self, state: CellState) -> Tensor:
        """The tensor [N, H] that carries a state on from step to step, and which `step` has made
        the output of: c of a layer that has one, else h."""
        return state[-1]

    def drop_weights(self, matrix: Tensor) -> Tensor:
        """A recurrent matrix with weights dropped, in training: one mask for a whole sequence
        (weight drop, Merity et al. 2018, section 2)."""
        if not self.training or self.recurrent_dropout == 0.0:
            return matrix
        return nn.functional.dropout(matrix, self.recurrent_dropout)

    def project(self, x: Tensor) -> Tensor:
        """The part [..., G] of a step that depends on the first input channels x [..., D'] alone,
        biases included. It may be of many steps at once."""
        raise AssertionError("abstract")

    def in_loop(self, start: int = 0) -> LoopCell:
        """The layer in a loop over time, whose steps give the input channels from `start` on."""
        raise AssertionError("abstract")

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """A copy for search: a module that is a `StepCell`, with products of `s2s.nn.kernels`.

        `bound_D` bounds the absolute value of each input channel. Every operation must round a row
        in the same way at any place among others.
        """
        raise AssertionError("abstract")

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """The parameters that `quantized` reads only as matrices of products, which it may round.

        Those whose rows share a scale are one key, in the order of the product's input channels;
        the value bounds these channels. A cell that names none is exported in fp32.
        """
        return {}

    def for_encoder(self) -> nn.Module:
        """The layer without gradients, in the type of its weights, for an encoder in search."""
        return self

    def for_rows(self, precision: SearchPrecision) -> nn.Module:
        """The layer over whole sequences, in which sentences are independent bit for bit."""
        return UnrolledLayer(self, precision)


class UnrolledLayer(nn.Module):
    """A `Cell` over whole sequences as a loop of steps, for search: kernels over whole sequences
    may round a sentence by its place among others."""

    def __init__(self, layer: Cell, precision: SearchPrecision) -> None:
        super().__init__()
        bound_D = torch.full((layer.input_width,), float("inf"))
        self.width = layer.width
        self.layer = copy.deepcopy(layer).float().quantized(bound_D, precision)

    def forward(self, x_TBD: Tensor) -> tuple[Tensor, CellState]:
        """See `Cell`; from a state of zeros."""
        layer = cast(StepCell, self.layer)
        zeros_BH = torch.zeros(x_TBD.shape[1], self.width, dtype=torch.float32)
        state, hs = layer.initial(zeros_BH), []
        for x_BD in x_TBD.float().unbind(0):
            state = layer.step(x_BD, state)
            hs.append(layer.output(state))
        return torch.stack(hs).to(x_TBD.dtype), state


class WithoutInput(nn.Module):
    """The parameters of PyTorch's recurrent modules of one layer, for a cell without input, which
    they do not allow."""

    def __init__(self, gates: int, width: int, bias: bool = True) -> None:
        super().__init__()
        rows = gates * width
        self.register_buffer("weight_ih_l0", torch.empty(rows, 0), persistent=False)
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, width))
        if bias:
            self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
            self.bias_hh_l0 = nn.Parameter(torch.empty(rows))


@torch.no_grad()
def initialize(input_OD: Tensor, recurrent_OH: Tensor, kind: RecurrentInit) -> None:
    """Draw weights a gate at a time: input matrices Glorot uniform, recurrent ones by `kind`.

    A cell without input has an input matrix without columns.
    """
    width = recurrent_OH.shape[1]
    recurrent = {
        "orthogonal": nn.init.orthogonal_,
        "glorot": nn.init.xavier_uniform_,
        "identity": nn.init.eye_,
    }[kind]
    for gate in range(recurrent_OH.shape[0] // width):
        rows = slice(gate * width, (gate + 1) * width)
        if input_OD.numel():
            nn.init.xavier_uniform_(input_OD[rows])
        recurrent(recurrent_OH[rows])
