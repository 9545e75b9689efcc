"""A layer with a residual connection, layer normalization, or both: y = norm(x + h).

Dimension letters: T time, B sentences, N rows, D input width, H hidden width, G width of a
projected input.
"""

import copy
from typing import cast

from torch import Tensor, nn

from s2s.nn.cells.base import Cell, CellState, LoopCell, StepCell
from s2s.recipe.choices import SearchPrecision


class Join(nn.Module):
    """y of a layer's input x and output h; x is added only to outputs as wide (Wu et al. 2016,
    section 3.1), and the sum normalized over its channels (Ba et al. 2016)."""

    def __init__(self, width: int, *, residual: bool, layer_norm: bool) -> None:
        super().__init__()
        self.residual = residual
        self.norm = nn.LayerNorm(width) if layer_norm else None

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """y [..., H]."""
        y = x + h if self.residual else h
        return y if self.norm is None else self.normalized(y)

    def normalized(self, y: Tensor) -> Tensor:
        """y, normalized if the layer normalizes."""
        found: Tensor = y if self.norm is None else self.norm(y)
        return found

    def bound(self, of_x: float, of_h: float) -> float:
        """The largest absolute value of y, from those of x and h; infinite after normalization."""
        if self.norm is not None:
            return float("inf")
        return of_x + of_h if self.residual else of_h


class BlockLayer(Cell):
    """A `Cell` and its join; the state is (y, the cell's state)."""

    def __init__(self, cell: Cell, *, residual: bool, layer_norm: bool, bound: float = 1.0) -> None:
        """`bound` is the largest absolute value of the input, if it is residual."""
        super().__init__(cell.input_width, cell.width)
        self.cell = cell
        self.join = Join(cell.width, residual=residual, layer_norm=layer_norm)
        self.output_bound = self.join.bound(bound, cell.output_bound)

    @property
    def multiplications(self) -> int:
        """See `Cell`."""
        return self.cell.multiplications

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `Cell`."""
        h_TBH, last = self.cell(x_TBD, None if state is None else state[1:])
        y_TBH = self.join(x_TBD, h_TBH)
        return y_TBH, (y_TBH[-1], *last)

    def initial(self, bridge_NH: Tensor) -> CellState:
        """The cell's, as if its input were zero."""
        return _initial(self.cell, self.join, bridge_NH)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        return _step(self.cell, self.join, x_ND, state)

    def project(self, x: Tensor) -> Tensor:
        """See `Cell`."""
        return self.cell.project(x)

    def in_loop(self, start: int = 0) -> LoopCell:
        """See `Cell`."""
        assert not (start and self.join.residual), "a residual connection reads the whole input"
        return LoopBlock(self, start)

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        return QuantizedBlockLayer(self, bound_D, precision)

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """See `Cell`."""
        own = self.cell.rounded_matrices(bound_D)
        return {tuple(f"cell.{name}" for name in names): whole_D for names, whole_D in own.items()}


class LoopBlock:
    """`BlockLayer.step` for a loop over time."""

    def __init__(self, layer: BlockLayer, start: int) -> None:
        self.step, self.output = layer.cell.in_loop(start), layer.cell.output
        self.join = layer.join

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None
    ) -> CellState:
        """See `LoopCell`."""
        new = self.step(x_ND, state[1:], projected_NG)
        return (self.join(x_ND, self.output(new)), *new)


class QuantizedBlockLayer(nn.Module):
    """`BlockLayer` for search."""

    def __init__(self, layer: BlockLayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        self.cell = layer.cell.quantized(bound_D, precision)
        self.join = copy.deepcopy(layer.join).float()

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return _initial(cast(StepCell, self.cell), self.join, bridge_NH)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        return _step(cast(StepCell, self.cell), self.join, x_ND, state)


def _initial(cell: StepCell, join: Join, bridge_NH: Tensor) -> CellState:
    own = cell.initial(bridge_NH)
    return (join.normalized(cell.output(own)), *own)


def _step(cell: StepCell, join: Join, x_ND: Tensor, state: CellState) -> CellState:
    new = cell.step(x_ND, state[1:])
    return (join(x_ND, cell.output(new)), *new)
