"""The table of recurrent cells."""

from collections.abc import Callable

from s2s.nn.cells.base import Cell
from s2s.nn.cells.lstm import LSTMLayer

CELLS: dict[str, Callable[[int, int], Cell]] = {
    "lstm": LSTMLayer,
}
"""The class of each kind, built from an input width and a width."""


def build_cell(input_width: int, width: int, kind: str = "lstm") -> Cell:
    """A layer with new parameters from the global random generator."""
    return CELLS[kind](input_width, width)
