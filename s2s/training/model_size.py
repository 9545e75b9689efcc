"""The memory that a recipe's model takes at the very least, known before it is built."""

from typing import assert_never

import torch

from s2s.errors import UsageError
from s2s.recipe.cells import AnyCell, ElementwiseCell, GRUCell, LSTMCell, SimpleCell
from s2s.recipe.data import has_source_text
from s2s.recipe.recipe import Recipe
from s2s.training.memory_usage import whole_memory

FLOAT = 4
"""Bytes of a weight, of its gradient and of each of its moments."""


def least_parameters(recipe: Recipe, source_vocabulary: int, target_vocabulary: int) -> int:
    """Parameters that a model of this recipe has at the very least: its embeddings, and what its
    cells make of their own state."""
    model = recipe.model
    has_text = has_source_text(recipe.data)
    embeddings = target_vocabulary * (2 if model.tied == "none" else 1)
    if has_text and model.tied != "all":
        embeddings += source_vocabulary
    encoder, decoder = model.encoder, model.decoder
    directions = 2 if encoder.bidirectional else 1
    cells = decoder.layers * _gates(decoder.cell) * decoder.width**2
    if has_text:
        cells += directions * encoder.layers * _gates(encoder.cell) * encoder.width**2
    return embeddings * model.embeddings + cells


def _gates(cell: AnyCell) -> int:
    """Recurrent matrices of a cell."""
    match cell:
        case LSTMCell():
            return 4
        case GRUCell():
            return 3
        case SimpleCell():
            return 1
        case ElementwiseCell():
            return 0
        case _:
            assert_never(cell)


def check_memory(
    recipe: Recipe, vocabularies: tuple[int, int], device: torch.device, processes: int, place: str
) -> None:
    """Raise UsageError, naming `place`, for a model whose training cannot fit into memory.

    Each of the `processes` on a machine has weights and gradients of its own; the moments of the
    optimizer, and the average of the weights, are shared. Activations come on top. Frozen parts
    have weights alone; where a recipe has some, the others are not told apart.
    """
    count = least_parameters(recipe, *vocabularies)
    shared = 2 + bool(recipe.train.average)
    copies = processes if recipe.train.freeze else 2 * processes + shared
    least = count * FLOAT * copies
    most = whole_memory(device)
    if most is not None and least > most:
        raise UsageError(
            f"{place}: the recipe's model has {count:,} parameters or more, whose training takes "
            f"{least / 2**30:,.1f} GiB at least, and {most / 2**30:,.1f} GiB are free on "
            f"{device}; expected a smaller model.embeddings, width, layers or vocabulary"
        )
