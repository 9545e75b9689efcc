"""Maps safetensors files: a tensor for every id, or one tensor and a list of ids."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from s2s.data.features.ids import IdIndex
from s2s.data.features.npy import check_array
from s2s.data.features.store import Layout
from s2s.errors import DataError
from s2s.text.lines import no_such_file

TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
"""The format's names of floating-point types; numpy has no bfloat16, so its bits are mapped."""

LENGTH_BYTES = 8
"""Bytes of the length of the header, at the beginning of the file."""


class Tensor(NamedTuple):
    """The header's entry of one tensor."""

    type: str
    shape: tuple[int, ...]
    begin: int
    """The position of its first byte after the header."""


@dataclass(frozen=True)
class TensorFile:
    """A file whose header has been read; safetensors has checked that its tensors fill it."""

    path: Path
    tensors: dict[str, Tensor]
    data_offset: int

    def array(self) -> NDArray[Any]:
        """The only tensor: [rows, width] or [rows, regions, width]. Raises DataError."""
        if len(self.tensors) != 1:
            raise DataError(
                f"{self.path}: with a list of ids, expected one tensor, found {len(self.tensors):,}"
            )
        ((name, tensor),) = self.tensors.items()
        type_ = self._type(name, tensor)
        check_array(tensor.shape, np.dtype("<f2") if type_.kind == "u" else type_, str(self.path))
        return self._mapped(type_, tensor.shape)

    def layout(self) -> tuple[IdIndex, Layout]:
        """Ids and layout of a file with a tensor for every id, [width] or [regions, width].

        Raises DataError for one of another type, rank or width than the first.
        """
        if not self.tensors:
            raise DataError(f"{self.path}: empty; found no tensors")
        first_name, first = next(iter(self.tensors.items()))
        type_ = self._type(first_name, first)
        width = first.shape[-1] if first.shape else 0
        for name, tensor in self.tensors.items():
            self._check(name, tensor)
            if tensor.shape[-1] != width or tensor.type != first.type:
                raise DataError(
                    f"{self.path}: '{first_name}' is {first.type} of width {width}, '{name}' is "
                    f"{tensor.type} of width {tensor.shape[-1]}; expected one type and one width"
                )
        count = len(self.tensors)
        begins = np.fromiter((t.begin for t in self.tensors.values()), np.int64, count)
        shapes = (t.shape for t in self.tensors.values())
        lengths = np.fromiter((s[0] if len(s) == 2 else 1 for s in shapes), np.int64, count)
        index = IdIndex(self.tensors, lambda row: f"{self.path}, tensor {row + 1}")
        return index, Layout(
            pieces=(self._mapped(type_, (int(lengths.sum()), width)),),
            piece_rows=np.array([0, count]),
            starts=begins // (width * type_.itemsize),
            lengths=lengths,
        )

    def _check(self, name: str, tensor: Tensor) -> None:
        self._type(name, tensor)
        if len(tensor.shape) not in (1, 2):
            raise DataError(
                f"{self.path}: '{name}': expected a tensor [width] or [regions, width], "
                f"found {list(tensor.shape)}"
            )
        if min(tensor.shape) < 1:
            raise DataError(f"{self.path}: '{name}': empty; found {list(tensor.shape)}")

    def _type(self, name: str, tensor: Tensor) -> np.dtype[Any]:
        if tensor.type not in TYPES:
            raise DataError(
                f"{self.path}: '{name}': expected floating-point numbers "
                f"({', '.join(TYPES)}), found {tensor.type}"
            )
        return np.dtype(TYPES[tensor.type])

    def _mapped(self, type_: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        mapped = np.memmap(self.path, dtype=type_, mode="r", offset=self.data_offset, shape=shape)
        return np.asarray(mapped)


def open_tensors(path: Path) -> TensorFile:
    """Read the header. Raises DataError for another file or a truncated one."""
    try:
        # Checks types, offsets and the size of the file, but does not return offsets.
        with safe_open(path, framework="np"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = json.loads(file.read(length), object_pairs_hook=_compact)
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{path}: not a safetensors file, or truncated ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    header.pop("__metadata__", None)
    return TensorFile(path, header, LENGTH_BYTES + length)


def _compact(pairs: list[tuple[str, Any]]) -> Any:
    """A JSON object of the header; that of a tensor is made a tuple of a third of its memory."""
    found = dict(pairs)
    if found.keys() == {"dtype", "shape", "data_offsets"} and isinstance(found["dtype"], str):
        return Tensor(found["dtype"], tuple(found["shape"]), found["data_offsets"][0])
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found
