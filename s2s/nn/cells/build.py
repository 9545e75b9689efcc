"""The table of recurrent cells, and layers of them one above the other."""

from collections.abc import Sequence
from typing import Protocol, assert_never

from s2s.nn.cells.base import Cell
from s2s.nn.cells.block import BlockLayer
from s2s.nn.cells.elementwise import ElementwiseLayer
from s2s.nn.cells.gru import GRULayer
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.cells.simple import SimpleLayer
from s2s.nn.cells.transition import TransitionLayer
from s2s.recipe.cells import AnyCell, ElementwiseCell, GRUCell, LSTMCell, SimpleCell


def build_cell(
    input_width: int,
    width: int,
    recipe: AnyCell,
    recurrent_dropout: float = 0.0,
    transitions: int = 1,
) -> Cell:
    """A layer with new parameters from the global random generator, of `transitions` cells."""
    if transitions > 1:
        widths = [input_width] + [0] * (transitions - 1)
        first, *others = (build_cell(w, width, recipe, recurrent_dropout) for w in widths)
        return TransitionLayer(first, others)
    match recipe:
        case LSTMCell():
            return LSTMLayer(input_width, width, recipe, recurrent_dropout)
        case GRUCell():
            return GRULayer(input_width, width, recipe, recurrent_dropout)
        case SimpleCell():
            return SimpleLayer(input_width, width, recipe, recurrent_dropout)
        case ElementwiseCell():
            return ElementwiseLayer(input_width, width, recipe)
        case _:
            assert_never(recipe)


class Layers(Protocol):
    """The section of an encoder or a decoder."""

    @property
    def cell(self) -> AnyCell:
        """Cell of every layer."""
        ...

    @property
    def transitions(self) -> int:
        """Cells of every layer."""
        ...

    @property
    def residual(self) -> bool:
        """Whether layers add their input to their output."""
        ...

    @property
    def layer_norm(self) -> bool:
        """Whether layers normalize their output."""
        ...


def build_layers(
    recipe: Layers,
    input_widths: Sequence[int],
    width: int,
    recurrent_dropout: float = 0.0,
    *,
    first_state: int = 0,
) -> list[Cell]:
    """Layers of one width, each of which reads the outputs of the one below.

    Those below `first_state` hand their states on (`Decoder.first_state`), so they are single
    cells, and residual connections begin above it.
    """
    layers: list[Cell] = []
    for input_width in input_widths:
        transitions = recipe.transitions if len(layers) >= first_state else 1
        layer = build_cell(input_width, width, recipe.cell, recurrent_dropout, transitions)
        residual = recipe.residual and len(layers) > first_state and input_width == width
        if residual or recipe.layer_norm:
            below = layers[-1].output_bound if layers else float("inf")
            layer = BlockLayer(layer, residual=residual, layer_norm=recipe.layer_norm, bound=below)
        layers.append(layer)
    return layers
