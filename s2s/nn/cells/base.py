"""The interface of a recurrent layer, whose state no other code looks into.

`s2s.nn.cells.build` has the table of cells. A new one is a subclass of `Cell` in a file of its own,
and a line in that table.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width, G width of a
projected input (of an LSTM 4 H).
"""

from typing import Protocol

from torch import Tensor, nn

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
    """The largest absolute value of an output: 1 after a tanh."""

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.input_width = input_width
        self.width = width

    @property
    def multiplications(self) -> int:
        """Multiplications of one step of one row, those of matrix products alone."""
        raise AssertionError("abstract")

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """Outputs [T, B, H] and the last state, from a state (of zeros if None)."""
        raise AssertionError("abstract")

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        raise AssertionError("abstract")

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        raise AssertionError("abstract")

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        raise AssertionError("abstract")

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
