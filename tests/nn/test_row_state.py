"""Rows of nested bundles of tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from s2s.nn.row_state import TensorRows


@dataclass(frozen=True)
class Bundle(TensorRows):
    layers: tuple[tuple[Tensor, ...], ...]
    one: Tensor
    none: Tensor | None = None


def bundle(start: int, rows: int) -> Bundle:
    parts = [torch.arange(start + i, start + i + rows * 2).view(rows, 2) for i in range(4)]
    return Bundle(((parts[0], parts[1]), (parts[2],)), parts[3])


def test_rows_of_nested_tuples_are_selected() -> None:
    whole, rows = bundle(0, 4), torch.tensor([3, 0, 3])
    found = whole.select(rows)
    assert [len(layer) for layer in found.layers] == [2, 1]
    for layer, expected in zip(found.layers, whole.layers, strict=True):
        for one, other in zip(layer, expected, strict=True):
            assert torch.equal(one, other[rows])
    assert torch.equal(found.one, whole.one[rows]) and found.none is None


def test_rows_of_nested_tuples_are_replaced_in_place() -> None:
    whole, other, rows = bundle(0, 4), bundle(100, 2), torch.tensor([3, 1])
    kept = whole.layers[1][0]
    assert whole.put(rows, other) is whole
    assert torch.equal(kept[rows], other.layers[1][0])
    assert torch.equal(whole.layers[0][1][rows], other.layers[0][1])
    assert torch.equal(whole.one[rows], other.one)
    assert kept[0].tolist() == bundle(0, 4).layers[1][0][0].tolist()
