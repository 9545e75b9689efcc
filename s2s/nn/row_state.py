"""Bundles of tensors indexed by row: what search selects and replaces."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeVar

from torch import Tensor

R = TypeVar("R", bound="TensorRows")
Value = Tensor | tuple[Tensor, ...] | None


class TensorRows:
    """Base of frozen dataclasses whose fields are tensors [rows, ...], tuples of them, or None."""

    def select(self: R, rows: Tensor) -> R:
        """Rows `rows` (int64 [M]) of self, in that order."""
        return self._map(lambda tensor: tensor.index_select(0, rows))

    def put(self: R, rows: Tensor, other: R) -> R:
        """Self, in which row `rows[i]` (int64 [M]) becomes row i of `other`; in place."""
        for name, value in self._values().items():
            new = getattr(other, name)
            if isinstance(value, Tensor):
                value.index_copy_(0, rows, new)
            elif value is not None:
                for mine, others in zip(value, new, strict=True):
                    mine.index_copy_(0, rows, others)
        return self

    def _map(self: R, function: Callable[[Tensor], Tensor]) -> R:
        changed: dict[str, Value] = {}
        for name, value in self._values().items():
            if isinstance(value, Tensor):
                changed[name] = function(value)
            elif value is not None:
                changed[name] = tuple(function(tensor) for tensor in value)
        return replace(self, **changed)  # type: ignore[type-var]

    def _values(self) -> dict[str, Value]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
