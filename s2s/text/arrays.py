"""Arrays of characters and of whole numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Numbers = NDArray[np.int64]


def code_points(text: str) -> NDArray[np.uint32]:
    """uint32 [characters]."""
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def ranges(starts: Numbers, sizes: NDArray[np.integer[Any]]) -> Numbers:
    """int64: for each i in turn the sizes[i] numbers from starts[i] on."""
    ends = np.cumsum(sizes, dtype=np.int64)
    numbers: Numbers = np.repeat(starts - (ends - sizes), sizes)
    numbers += np.arange(len(numbers))
    return numbers


class Growing:
    """An array that grows at its end."""

    def __init__(self, dtype: DTypeLike = np.int64) -> None:
        self._buffer: NDArray[Any] = np.empty(1024, dtype=dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[Any]:
        """The array; writing changes it."""
        return self._buffer[: self._size]

    def extend(self, values: Sequence[int] | NDArray[Any]) -> None:
        """Add values at the end."""
        size = self._size + len(values)
        if size > len(self._buffer):
            buffer = np.empty(max(size, 2 * len(self._buffer)), dtype=self._buffer.dtype)
            buffer[: self._size] = self.values
            self._buffer = buffer
        self._buffer[self._size : size] = values
        self._size = size
