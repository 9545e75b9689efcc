"""Features of `.npz` and Parquet files, read sequentially in blocks."""

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from s2s.data.features.arrow import Block, FeatureColumns, block_of, check_columns
from s2s.data.features.ids import IdIndex
from s2s.data.features.npy import check_array, check_vectors, described, read_header
from s2s.errors import DataError
from s2s.text.lines import no_such_file

_DAMAGED = (ValueError, OverflowError, struct.error)
"""What the library raises for names, sizes and places that make no sense."""

Check = Callable[[tuple[int, ...], np.dtype[Any], str], None]

SUFFIX = ".npy"
"""The suffix of an array in a `.npz` archive, whose name before it is the id."""


def npz_names(path: Path) -> list[str]:
    """The names of an archive's arrays. Raises DataError for another file or other contents."""
    with _archive(path) as archive:
        names = archive.namelist()
    for name in names:
        if not name.endswith(SUFFIX):
            raise DataError(f"{path}: expected arrays only, found '{name}'")
    return [name.removesuffix(SUFFIX) for name in names]


def npz_blocks(path: Path) -> Iterator[Block]:
    """A block for every array [width] or [regions, width]; its name is the id.

    Names are only used as ids: no file of that name is opened or written. Raises DataError for an
    array of another shape or type, a damaged array, or one shorter than its header says.
    """
    names = npz_names(path)
    with _archive(path) as archive:
        for info, id_ in zip(archive.infolist(), names, strict=True):
            place = f"{path}: '{id_}'"
            with archive.open(info) as member:
                file = cast(BinaryIO, member)
                shape, type_ = _header(file, info.file_size, check_vectors, place)
                values = _read(file, shape, type_, place)
            grid = values.reshape(-1, shape[-1])
            yield Block(pa.array([id_], pa.large_string()), np.array([len(grid)]), grid)


def npz_array_blocks(path: Path, ids: IdIndex, num_bytes: int) -> Iterator[Block]:
    """The rows of an archive's only array, [rows, width] or [rows, regions, width].

    Raises DataError as `npz_blocks` does, and unless there are as many rows as ids.
    """
    names = npz_names(path)
    if len(names) != 1:
        raise DataError(f"{path}: with a list of ids, expected one array, found {len(names):,}")
    with _archive(path) as archive, archive.open(archive.infolist()[0]) as member:
        file = cast(BinaryIO, member)
        size = archive.infolist()[0].file_size
        shape, type_ = _header(file, size, check_array, str(path))
        check_count(len(ids), shape[0], str(path))
        regions = shape[1] if len(shape) == 3 else 1
        per_block = max(1, num_bytes // (math.prod(shape[1:]) * type_.itemsize))
        texts = iter(ids)
        while block := list(islice(texts, per_block)):
            values = _read(file, (len(block) * regions, shape[-1]), type_, str(path))
            yield Block(pa.array(block, pa.large_string()), np.full(len(block), regions), values)


def parquet_blocks(path: Path, columns: FeatureColumns, num_bytes: int) -> Iterator[Block]:
    """The rows of a Parquet file, about `num_bytes` at a time. Raises DataError."""
    try:
        # The buffered reader reads a column chunk page by page, whatever its size.
        with pa.parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            check_columns(file.schema_arrow, columns, str(path))
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            row_bytes = sum(group.total_byte_size for group in groups) // max(
                1, file.metadata.num_rows
            )
            per_block = max(1, num_bytes // max(1, row_bytes))
            for batch in file.iter_batches(per_block, columns=[columns.id, columns.features]):
                if batch.num_rows:
                    yield block_of(batch, columns, str(path))
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a readable Parquet file ({reason})") from error


def check_count(num_ids: int, num_rows: int, name: str) -> None:
    """Raises DataError unless there are as many ids as rows."""
    if num_ids != num_rows:
        raise DataError(f"{name}: expected one id for each of {num_rows:,} rows, found {num_ids:,}")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, *_DAMAGED) as error:
        raise DataError(f"{path}: not a .npz archive, truncated or damaged ({error})") from error
    except (NotImplementedError, RuntimeError) as error:  # an unknown compression, a password
        raise DataError(f"{path}: cannot be read ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _header(
    file: BinaryIO, size: int, check: Check, place: str
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an archive's array, which must have `size` bytes with its header."""
    shape, type_, fortran = read_header(file, place)
    check(shape, type_, place)
    if fortran:
        raise DataError(f"{place}: stored column by column; save numpy.ascontiguousarray of it")
    expected = file.tell() + math.prod(shape) * type_.itemsize
    if size != expected:
        raise DataError(
            f"{place}: damaged; expected {expected:,} bytes for {described(shape, type_)}, "
            f"found {size:,}"
        )
    return shape, type_


def _read(file: BinaryIO, shape: tuple[int, ...], type_: np.dtype[Any], place: str) -> NDArray[Any]:
    data = file.read(math.prod(shape) * type_.itemsize)
    if len(data) < math.prod(shape) * type_.itemsize:
        raise DataError(f"{place}: truncated; expected {described(shape, type_)}")
    return np.frombuffer(data, type_).reshape(shape)
