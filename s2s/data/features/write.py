"""Writes feature files row by row; a file is in place only when it is complete."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.lib import format as npy_format

from s2s.data.features.store import Values
from s2s.errors import DataError, UsageError
from s2s.files import replace_file, sync_folder, temporary_beside

LONGEST_HEADER = 100_000_000
"""The most bytes of a safetensors header, by its specification."""


class Writer(Protocol):
    """A writer of features."""

    def append(self, ids: Sequence[str], values: Values) -> None:
        """Add rows: [rows, width] or [rows, regions, width], of one shape in all calls."""


@contextmanager
def write_features(path: Path, ids: Sequence[str]) -> Iterator[Writer]:
    """Yield a writer; the file is at `path` once the block has ended without an error.

    `.npy` gets its ids in a file named `.ids` beside it; `.safetensors` has a tensor for each.
    `ids` are those of the rows to come, in this order; some may be skipped.

    Raises UsageError for another name, DataError if nothing was written.
    """
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".ids")
    parts = [path, beside] if path.suffix == ".npy" else [path]
    temporary = [temporary_beside(part) for part in parts]
    try:
        with temporary[0].open("xb") as file:
            writer = _Npy(file) if path.suffix == ".npy" else _Safetensors(file, ids)
            yield writer
            if not writer.ids:
                raise DataError(f"{path}: no features to write")
            writer.finish()
            _sync(file)
        if len(parts) == 2:
            with temporary[1].open("xb") as file:
                file.write("".join(f"{id_}\n" for id_ in writer.ids).encode())
                _sync(file)
            # Old ids must never be beside a new array, nor new ids beside an old one.
            beside.unlink(missing_ok=True)
        for part, written in zip(parts, temporary, strict=True):
            replace_file(written, part)
        sync_folder(path.parent)
    finally:
        for written in temporary:
            written.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raises UsageError for a name of neither format."""
    if path.suffix not in (".npy", ".safetensors"):
        raise UsageError(f"{path}: expected a file named .npy or .safetensors")


class _Npy:
    """Writes one array, and the number of rows into its header at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self.ids: list[str] = []
        self._file = file
        self._shape: tuple[int, ...] = ()
        self._type = np.dtype(np.float16)

    def append(self, ids: Sequence[str], values: Values) -> None:
        if not self.ids:
            self._shape, self._type = values.shape[1:], values.dtype
            self._write_header()
        assert (values.shape[1:], values.dtype) == (self._shape, self._type)
        self._file.write(np.ascontiguousarray(values).data)
        self.ids += ids

    def finish(self) -> None:
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)

    def _write_header(self) -> None:
        """The header has one length for any number of rows: numpy pads it."""
        header = {
            "descr": npy_format.dtype_to_descr(self._type),
            "fortran_order": False,
            "shape": (len(self.ids), *self._shape),
        }
        npy_format.write_array_header_1_0(self._file, header)


class _Safetensors:
    """Writes a tensor for every id, and the header into reserved space at the end."""

    def __init__(self, file: BinaryIO, ids: Sequence[str]) -> None:
        self.ids: list[str] = []
        self._file = file
        self._expected = ids
        self._shape: tuple[int, ...] = ()
        self._type = np.dtype(np.float16)
        self._room = 0

    def append(self, ids: Sequence[str], values: Values) -> None:
        if not self.ids:
            self._shape, self._type = values.shape[1:], values.dtype
            header = self._header(self._expected)
            # The values begin at a multiple of 8, as the specification says.
            self._room = len(header) + -len(header) % 8
            if self._room > LONGEST_HEADER:
                raise UsageError(
                    f"a .safetensors file cannot hold {len(self._expected):,} tensors; write a .npy"
                )
            self._file.write(self._room.to_bytes(8, "little") + b" " * self._room)
        self._file.write(np.ascontiguousarray(values).data)
        self.ids += ids

    def finish(self) -> None:
        self._file.seek(8)
        self._file.write(self._header(self.ids).ljust(self._room))
        self._file.seek(0, os.SEEK_END)

    def _header(self, ids: Sequence[str]) -> bytes:
        size = int(np.prod(self._shape)) * self._type.itemsize
        type_ = {"float16": "F16", "float32": "F32"}[self._type.name]
        shape = list(self._shape)
        tensors = {
            id_: {"dtype": type_, "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
            for i, id_ in enumerate(ids)
        }
        return json.dumps(tensors, separators=(",", ":")).encode()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
