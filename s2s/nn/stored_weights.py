"""Weights as exported models store them: in fp32, or the matrices of search in bf16 or int8.

What search rounds anyway is stored rounded, and all else in fp32: embeddings, encoders, biases, and
an output layer that is an embedding too or that shortlists read. So search in the precision of the
file gives the same outputs, bit for bit, as from the weights in fp32:

- bf16: rounding twice is rounding once.
- int8: each row of a matrix has its integers, and its largest weight in fp32, of which the scale
  is computed. The weights that `read_weights` makes of these are in fp32 and not those of training,
  but `Integers` rounds them to the same integers and scales, on every CPU.

Dimension letters: O output channels, D input channels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from s2s.errors import RunError
from s2s.nn.int8 import LEVELS
from s2s.recipe.choices import SearchPrecision

BOUND, COLUMN, LARGEST = "bound", "column", "largest"
"""The tensors beside a matrix in int8: the bound of each input channel, float32 [D], and the place
and value of the weight with the largest reach in each row, int32 [O] and float32 [O]. Their names
are these, a colon, and the names of the matrix's parts, joined by `|`."""

BELOW = 1.0 - 2.0**-16
"""Factor of other weights of the largest integer, whose reach then stays below the largest one."""


def round_weights(
    weights: Mapping[str, Tensor],
    matrices: Mapping[tuple[str, ...], Tensor],
    precision: SearchPrecision,
) -> dict[str, Tensor]:
    """The tensors to store. `matrices` are those of `rounded_matrices`, with their bounds."""
    stored = {name: tensor.float() for name, tensor in weights.items()}
    for names, bound_D in matrices.items():
        if precision == "bf16":
            stored |= {name: stored[name].bfloat16() for name in names}
        elif precision == "int8":
            stored |= _int8(names, [stored[name] for name in names], bound_D.float())
    return stored


def read_weights(stored: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """The weights in fp32 of tensors that `round_weights` made. Raises RunError for others."""
    beside = {name for name in stored if ":" in name}
    weights = {name: tensor for name, tensor in stored.items() if name not in beside}
    groups: dict[str, list[str]] = {}
    for name in beside:
        groups.setdefault(name.partition(":")[2], []).append(name)
    for joined, found in groups.items():
        names = joined.split("|")
        try:
            weights |= _fp32(names, joined, stored)
        except (KeyError, IndexError, RuntimeError, ValueError) as error:
            raise RunError(
                f"{place}: expected a matrix in int8 with its scales, found {sorted(found)[0]!r}"
            ) from error
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise RunError(f"{place}: expected '{name}' in floating point, found {tensor.dtype}")
    return {name: tensor.float() for name, tensor in weights.items()}


def _int8(names: tuple[str, ...], parts: list[Tensor], bound_D: Tensor) -> dict[str, Tensor]:
    """A matrix in int8, by its parts along the input channels."""
    weight_OD = torch.cat(parts, dim=1)
    reach_OD = weight_OD * bound_D
    column_O = reach_OD.abs().argmax(1)
    largest_O = weight_OD.gather(1, column_O.unsqueeze(1)).squeeze(1)
    scale_O = _scale(largest_O, bound_D[column_O])
    whole_OD = (reach_OD / scale_O.unsqueeze(1)).round_().to(torch.int8)
    joined = "|".join(names)
    whole = torch.split(whole_OD, [part.shape[1] for part in parts], dim=1)
    return {
        **{name: part.contiguous() for name, part in zip(names, whole, strict=True)},
        f"{BOUND}:{joined}": bound_D.clone(),
        f"{COLUMN}:{joined}": column_O.to(torch.int32),
        f"{LARGEST}:{joined}": largest_O,
    }


def _fp32(names: list[str], joined: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `_int8`."""
    bound_D, largest_O = stored[f"{BOUND}:{joined}"], stored[f"{LARGEST}:{joined}"]
    column_O1 = stored[f"{COLUMN}:{joined}"].long().unsqueeze(1)
    parts = [stored[name] for name in names]
    whole_OD = torch.cat(parts, dim=1)
    if whole_OD.dtype != torch.int8 or bound_D.dtype != torch.float32:
        raise ValueError("not int8")
    scale_O = _scale(largest_O, bound_D[column_O1.squeeze(1)])
    # In float64, so that each weight is rounded once, far from the middle of two integers.
    levels_OD = whole_OD.double()
    levels_OD[whole_OD.abs() == LEVELS] *= BELOW
    reach_OD = levels_OD * scale_O.double().unsqueeze(1)
    weight_OD = torch.where(bound_D > 0, reach_OD / bound_D, 0.0).float()
    weight_OD.scatter_(1, column_O1, largest_O.unsqueeze(1))
    split = torch.split(weight_OD, [part.shape[1] for part in parts], dim=1)
    return {name: part.contiguous() for name, part in zip(names, split, strict=True)}


def _scale(largest_O: Tensor, bound_O: Tensor) -> Tensor:
    """The scale of each row, computed as `Integers` does."""
    reach_O = (largest_O * bound_O).abs()
    return reach_O.clamp_min(torch.finfo(torch.float32).tiny) / LEVELS
