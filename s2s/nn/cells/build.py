"""The table of recurrent cells, and layers of them one above the other."""

from collections.abc import Sequence
from typing import Protocol, assert_never

from s2s.nn.cells.base import Cell
from s2s.nn.cells.block import BlockLayer
from s2s.nn.cells.elementwise import ElementwiseLayer
from s2s.nn.cells.gru import GRULayer
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.cells.simple import SimpleLayer
from s2s.recipe.cells import AnyCell, ElementwiseCell, GRUCell, LSTMCell, SimpleCell


def build_cell(
    input_width: int, width: int, recipe: AnyCell, recurrent_dropout: float = 0.0
) -> Cell:
    """A layer with new parameters from the global random generator."""
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
    first_residual: int = 1,
) -> list[Cell]:
    """Layers of one width, each of which reads the outputs of the one below.

    Those from `first_residual` on may have residual connections.
    """
    layers: list[Cell] = []
    for input_width in input_widths:
        layer = build_cell(input_width, width, recipe.cell, recurrent_dropout)
        residual = recipe.residual and len(layers) >= first_residual and input_width == width
        if residual or recipe.layer_norm:
            below = layers[-1].output_bound if layers else float("inf")
            layer = BlockLayer(layer, residual=residual, layer_norm=recipe.layer_norm, bound=below)
        layers.append(layer)
    return layers
