"""Arrow columns of ids and of features as lists, read without a copy if possible."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s2s.data.features.ids import IdIndex
from s2s.data.features.store import Layout
from s2s.errors import DataError
from s2s.text.lines import no_such_file


@dataclass(frozen=True, kw_only=True)
class FeatureColumns:
    """The columns of a table of features."""

    id: str = "id"
    """Column of unique texts or whole numbers."""
    features: str = "features"
    """Column of lists of floating-point numbers, or of lists of such lists."""


class Block(NamedTuple):
    """The features of some rows, concatenated."""

    ids: pa.LargeStringArray
    lengths: NDArray[np.int64]
    """int64 [rows]: the number of regions of each."""
    values: NDArray[Any]
    """[regions of all rows, width]."""


def open_mapped(path: Path, columns: FeatureColumns, name: str) -> tuple[IdIndex, Layout] | None:
    """Ids and layout of an Arrow file or stream; None if it is compressed, which cannot be mapped.

    Raises DataError for another file, a damaged one, or columns that are not features.
    """
    blocks: list[Block] = []
    for block, is_mapped in _mapped_blocks(path, columns, name):
        if not is_mapped:
            return None
        blocks.append(block)
    if not blocks:
        raise DataError(f"{name}: empty; found no rows")
    for block in blocks:
        check_width(block, blocks[0].values.shape[1], name)
    index = IdIndex(_texts(blocks, name), lambda row: f"{name}, row {row + 1}")
    starts = [np.cumsum(block.lengths) - block.lengths for block in blocks]
    return index, Layout(
        pieces=tuple(block.values for block in blocks),
        piece_rows=np.cumsum([0, *(len(block.lengths) for block in blocks)]),
        starts=np.concatenate(starts),
        lengths=np.concatenate([block.lengths for block in blocks]),
    )


def arrow_blocks(path: Path, columns: FeatureColumns) -> Iterator[Block]:
    """The rows of an Arrow file or stream, by record batch; raises as `open_mapped` does."""
    return (block for block, _ in _mapped_blocks(path, columns, str(path)))


def check_width(block: Block, width: int, name: str) -> None:
    """Raises DataError unless a block has this width, that of the first one."""
    if block.values.shape[1] != width:
        raise DataError(
            f"{name}: expected vectors of one width, found {width} and, at "
            f"'{block.ids[0].as_py()}', {block.values.shape[1]}"
        )


def block_of(batch: pa.RecordBatch, columns: FeatureColumns, place: str) -> Block:
    """The features of a batch. Raises DataError for missing columns or wrong types."""
    check_columns(batch.schema, columns, place)
    ids = _ids(batch.column(columns.id), f"{place}: column '{columns.id}'")
    column = batch.column(columns.features)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return _lists(ids, column, f"{place}: column '{columns.features}'")


def check_columns(schema: pa.Schema, columns: FeatureColumns, place: str) -> None:
    """Raises DataError if a column is missing."""
    for name in (columns.id, columns.features):
        if name not in schema.names:
            found = ", ".join(schema.names) or "none"
            raise DataError(f"{place}: no column '{name}'; found: {found}")


def _mapped_blocks(path: Path, columns: FeatureColumns, name: str) -> Iterator[tuple[Block, bool]]:
    """Every record batch with rows, and whether its features are views of the mapped file."""
    try:
        with pa.memory_map(str(path)) as mapped:
            whole = mapped.read_buffer()
        for batch in _batches(whole):
            batch.validate()
            if batch.num_rows:
                block = block_of(batch, columns, name)
                inside = block.values.ctypes.data - whole.address
                yield block, 0 <= inside < whole.size
    except FileNotFoundError as error:
        raise no_such_file(name) from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name}: not an Arrow file, or damaged ({reason})") from error


def _texts(blocks: list[Block], name: str) -> Iterator[str]:
    try:
        for block in blocks:
            yield from block.ids.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: an id is not valid UTF-8 ({error.reason})") from error


def _batches(whole: pa.Buffer) -> Iterator[pa.RecordBatch]:
    """Of the file format, or of the stream format in which `datasets` keeps its tables."""
    if whole.size >= 6 and whole.slice(0, 6).to_pybytes() == b"ARROW1":
        file = pa.ipc.open_file(whole)
        yield from (file.get_batch(number) for number in range(file.num_record_batches))
    else:
        yield from pa.ipc.open_stream(whole)


def _ids(column: pa.Array, place: str) -> pa.LargeStringArray:
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_)
    if not (is_text or pa.types.is_integer(type_) or pa.types.is_string_view(type_)):
        raise DataError(f"{place}: expected texts or whole numbers as ids, found {type_}")
    if column.null_count:
        raise DataError(f"{place}: expected an id in every row, found {column.null_count:,} nulls")
    column.validate(full=True)  # places ascend within the file, and texts are UTF-8
    return column.cast(pa.large_string())


def _lists(ids: pa.LargeStringArray, column: pa.Array, place: str) -> Block:
    """The block of a column of lists, or of lists of lists, as views of its buffers."""
    lengths, first, below = _level(column, place)
    if _is_list(below.type):
        num_regions = int(lengths.sum())
        sizes, first, below = _level(below[first : first + num_regions], place)
    else:
        lengths, sizes = np.ones(len(ids), np.int64), lengths
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        id_ = ids[int(empty[0])].as_py()
        raise DataError(f"{place}: expected at least one region, found none for '{id_}'")
    width = _common_width(sizes, place)
    if not pa.types.is_floating(below.type):
        raise DataError(f"{place}: expected lists of floating-point numbers, found {below.type}")
    numbers = below[first : first + width * len(sizes)]
    if numbers.null_count:
        raise DataError(f"{place}: expected numbers, found {numbers.null_count:,} nulls")
    flat = numbers.to_numpy(zero_copy_only=True)
    return Block(ids, lengths, flat.reshape(len(sizes), width))


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _level(column: pa.Array, place: str) -> tuple[NDArray[np.int64], int, pa.Array]:
    """One level of lists: their lengths, the start of the first in the array below, that array."""
    if not _is_list(column.type):
        raise DataError(
            f"{place}: expected lists of numbers, or lists of such lists, found {column.type}"
        )
    if column.null_count:
        raise DataError(f"{place}: expected a list everywhere, found {column.null_count:,} nulls")
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        return np.full(len(column), size), column.offset * size, column.values
    offsets = column.offsets.to_numpy().astype(np.int64)
    lengths = np.diff(offsets)
    if lengths.min(initial=0) < 0 or offsets[-1] > len(column.values):
        raise DataError(f"{place}: damaged; the lists do not fit their values")
    return lengths, int(offsets[0]), column.values


def _common_width(sizes: NDArray[np.int64], place: str) -> int:
    """The width of all vectors. Raises DataError if they differ."""
    width = int(sizes[0])
    other = np.flatnonzero(sizes != width)
    if len(other):
        raise DataError(
            f"{place}: expected vectors of one width, found {width} and {sizes[other[0]]}"
        )
    if width == 0:
        raise DataError(f"{place}: empty; found vectors of width 0")
    return width
