"""A recurrent layer of several cells a step, the deep transition of Pascanu et al. 2014.

    s = cell(x, s); s = cell_2(s); ... s = cell_N(s)

The first cell reads the input and the state of the step before, each other the state of the cell
before it and no input. The output and the next step's state are those of the last (section 3.3; for
gated cells Miceli Barone et al. 2017, section 2.3.1, whose BiDeep networks stack such layers).

Dimension letters: T time, B sentences, N rows, D input width, H hidden width, G width of a
projected input.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from s2s.nn.cells.base import Cell, CellState, LoopCell, StepCell
from s2s.recipe.choices import SearchPrecision


class TransitionLayer(Cell):
    """A `Cell` and the cells after it; the state is that of one of them, for they are alike."""

    def __init__(self, cell: Cell, transitions: Sequence[Cell]) -> None:
        super().__init__(cell.input_width, cell.width)
        assert all(one.input_width == 0 for one in transitions), "cells without input"
        self.cell = cell
        self.transitions = nn.ModuleList(transitions)
        self.output_bound = cell.output_bound

    @property
    def multiplications(self) -> int:
        """See `Cell`."""
        return sum(one.multiplications for one in self._cells())

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return self.cell.initial(bridge_NH)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return self.cell.output(state)

    def memory(self, state: CellState) -> Tensor:
        """See `Cell`."""
        return self.cell.memory(state)

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        return _step(self._cells(), x_ND, state)

    def project(self, x: Tensor) -> Tensor:
        """See `Cell`."""
        return self.cell.project(x)

    def in_loop(self, start: int = 0) -> LoopCell:
        """See `Cell`."""
        return LoopTransition(self, start)

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        return QuantizedTransitionLayer(self, bound_D, precision)

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """See `Cell`."""
        known = dict(self.named_parameters())
        names = ["cell", *(f"transitions.{place}" for place in range(len(self.transitions)))]
        found: dict[tuple[str, ...], Tensor] = {}
        for prefix, cell in zip(names, self._cells(), strict=True):
            bounds = cell.rounded_matrices(bound_D if cell is self.cell else bound_D[:0])
            for own, whole_D in bounds.items():
                whole = tuple(f"{prefix}.{name}" for name in own)
                found[tuple(name for name in whole if name in known)] = whole_D
        found.pop((), None)  # the input matrix of a cell without input
        return found

    def _cells(self) -> list[Cell]:
        return [self.cell, *(cast(Cell, one) for one in self.transitions)]


class LoopTransition:
    """`TransitionLayer.step` for a loop over time."""

    def __init__(self, layer: TransitionLayer, start: int) -> None:
        first, *others = layer._cells()
        self.step, self.others = first.in_loop(start), [one.in_loop() for one in others]

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None
    ) -> CellState:
        """See `LoopCell`."""
        state = self.step(x_ND, state, projected_NG)
        nothing_N0 = x_ND[:, :0]
        for one in self.others:
            state = one(nothing_N0, state)
        return state


class QuantizedTransitionLayer(nn.Module):
    """`TransitionLayer` for search."""

    def __init__(self, layer: TransitionLayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        first, *others = layer._cells()
        made = [first.quantized(bound_D, precision)]
        made += [one.quantized(bound_D[:0], precision) for one in others]
        self.cells = nn.ModuleList(made)

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return cast(StepCell, self.cells[0]).initial(bridge_NH)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return cast(StepCell, self.cells[0]).output(state)

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        return _step([cast(StepCell, one) for one in self.cells], x_ND, state)


def _step(cells: Sequence[StepCell], x_ND: Tensor, state: CellState) -> CellState:
    first, *others = cells
    state = first.step(x_ND, state)
    for one in others:
        state = one.step(x_ND[:, :0], state)
    return state
