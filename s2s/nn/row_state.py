"""Bundles of tensors indexed by row: what search selects and replaces."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeAlias, TypeVar

from torch import Tensor

R = TypeVar("R", bound="TensorRows")
Value: TypeAlias = "Tensor | tuple[Value, ...] | None"


class TensorRows:
    """Base of frozen dataclasses whose fields are tensors [rows, ...], nested tuples of them, or
    None."""

    def select(self: R, rows: Tensor) -> R:
        """Rows `rows` (int64 [M]) of self, in that order."""
        return replace(
            self,  # type: ignore[type-var]
            **{
                name: _map(value, lambda tensor: tensor.index_select(0, rows))
                for name, value in self._values().items()
            },
        )

    def put(self: R, rows: Tensor, other: R) -> R:
        """Self, in which row `rows[i]` (int64 [M]) becomes row i of `other`; in place."""
        for name, value in self._values().items():
            _put(value, rows, getattr(other, name))
        return self

    def _values(self) -> dict[str, Value]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


def _map(value: Value, function: Callable[[Tensor], Tensor]) -> Value:
    """`function` of every tensor in a field."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return function(value)
    return tuple(_map(part, function) for part in value)


def _put(value: Value, rows: Tensor, new: Value) -> None:
    """`TensorRows.put` of one field."""
    if isinstance(value, Tensor):
        assert isinstance(new, Tensor)
        value.index_copy_(0, rows, new)
    elif value is not None:
        assert isinstance(new, tuple)
        for mine, others in zip(value, new, strict=True):
            _put(mine, rows, others)
