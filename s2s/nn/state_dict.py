"""Weights by name, as in checkpoints: loading them and averaging them."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from s2s.errors import RunError
from s2s.nn.encoders.regions import FeatureShape


def load_weights(
    into: Mapping[str, Tensor], weights: Mapping[str, Tensor | None], place: str
) -> None:
    """Copy `weights` over the tensors `into`, of the same names and shapes.

    Raises RunError, naming `place`, if they belong to another model, and copies none.
    """
    check_weights(into, weights, place)
    with torch.no_grad():
        for name, tensor in into.items():
            found = weights[name]
            assert found is not None
            tensor.copy_(found)


def check_weights(
    into: Mapping[str, Tensor], weights: Mapping[str, Tensor | None], place: str
) -> None:
    """Raise RunError, naming `place`, unless names and shapes are those of the tensors `into`."""
    advice = "they belong to another model or version"
    for name in sorted(into.keys() | weights.keys()):
        found = weights.get(name)
        if name not in into:
            raise RunError(f"{place}: unexpected weights '{name}': {advice}")
        if found is None:
            raise RunError(f"{place}: expected weights '{name}', found none: {advice}")
        if not found.is_floating_point():
            raise RunError(f"{place}: '{name}' should be floating point, found {found.dtype}")
        if found.shape != into[name].shape:
            expected, got = list(into[name].shape), list(found.shape)
            raise RunError(f"{place}: '{name}' should be {expected}, found {got}: {advice}")


def feature_shapes(weights: Mapping[str, Tensor]) -> tuple[FeatureShape, ...]:
    """The shapes of the feature files that a model of these weights reads."""
    found: list[FeatureShape] = []
    while (matrix := weights.get(f"features.{len(found)}.projection.weight")) is not None:
        positions = weights.get(f"features.{len(found)}.positions")
        found.append(FeatureShape(matrix.shape[1], 0 if positions is None else len(positions)))
    return tuple(found)


def mean_weights(checkpoints: Iterable[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Arithmetic mean of every tensor over checkpoints, summed in float64, in its own dtype.

    Each comes with the place that an error names. Only one is in memory at a time. Raises RunError
    where names, shapes or types differ.
    """
    total: dict[str, Tensor] = {}
    kinds: dict[str, tuple[torch.Size, torch.dtype]] = {}
    count = 0
    for place, weights in checkpoints:
        found = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
        if not count:
            kinds = found
            total = {name: tensor.double() for name, tensor in weights.items()}
        else:
            _check_same_model(place, kinds, found)
            for name, tensor in weights.items():
                total[name] += tensor
        count += 1
    assert count, "no checkpoints to average"
    return {name: (total[name] / count).to(dtype) for name, (_, dtype) in kinds.items()}


def _check_same_model(
    place: str,
    expected: Mapping[str, tuple[torch.Size, torch.dtype]],
    found: Mapping[str, tuple[torch.Size, torch.dtype]],
) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            wanted, got = _describe(expected.get(name)), _describe(found.get(name))
            what = f"'{name}': expected {wanted} as in the others, found {got}"
            raise RunError(f"{place}: {what}: they are not of one model")


def _describe(kind: tuple[torch.Size, torch.dtype] | None) -> str:
    return "none" if kind is None else f"{list(kind[0])} of {str(kind[1]).removeprefix('torch.')}"
