"""Weights by name: what a checkpoint holds and a model takes back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from s2s.errors import RunError


def load_weights(
    into: Mapping[str, Tensor], weights: Mapping[str, Tensor | None], place: str
) -> None:
    """Copy `weights` over the tensors `into`, of the same names and shapes.

    Raises RunError, naming `place`, if they belong to another model; nothing is copied then.
    """
    advice = "they belong to another model or version"
    for name in sorted(into.keys() | weights.keys()):
        found = weights.get(name)
        if name not in into:
            raise RunError(f"{place}: unexpected weights '{name}': {advice}")
        if found is None:
            raise RunError(f"{place}: expected weights '{name}', found none: {advice}")
        if found.shape != into[name].shape:
            expected, got = list(into[name].shape), list(found.shape)
            raise RunError(f"{place}: '{name}' should be {expected}, found {got}: {advice}")
    with torch.no_grad():
        for name, tensor in into.items():
            found = weights[name]
            assert found is not None
            tensor.copy_(found)
