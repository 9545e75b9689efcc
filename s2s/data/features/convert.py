"""Converts feature files that cannot be mapped (`.npz`, Parquet, compressed Arrow) once.

The copy is an uncompressed Arrow file, written block by block and renamed into place when it is
complete. Its name is a hash of the original's content.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s2s.data.features.archives import npz_array_blocks, npz_blocks, parquet_blocks
from s2s.data.features.arrow import Block, FeatureColumns, arrow_blocks, check_width
from s2s.data.features.ids import IdIndex
from s2s.data.sources.chunks import file_fingerprint
from s2s.data.sources.contents import Hashes, by_content
from s2s.errors import DataError
from s2s.files import (
    remove_abandoned,
    replace_file,
    sync_file,
    sync_folder,
    temporary_beside,
)

BLOCK_BYTES = 16 * 2**20
"""Bytes of features in memory at a time, and of a record batch of the copy."""

COLUMNS = FeatureColumns()
"""The columns of the copy."""

Progress = Callable[[str, int, int | None], None]


def converted(
    path: Path, ids: IdIndex | None, columns: FeatureColumns, cache: Path, progress: Progress
) -> Path:
    """The copy of `path` in the folder `cache`, made unless it is there and up to date.

    Its name has what the file holds, so a file that was only moved is not copied again; the folder
    that has the cache keeps the hash. `ids` are those of a `.npz` file with one array. Raises
    DataError for an invalid file, OSError if the copy cannot be written.
    """
    stamp = file_fingerprint(path, path.suffix.lower())
    by_time = [str(path.resolve()), stamp["size"], stamp["mtime_ns"], asdict(columns)]
    earlier = cache / f"features-{_digest(by_time, ids)}.arrow"  # as earlier versions named it
    if earlier.is_file():
        return earlier
    content = [by_content(stamp, Hashes(cache.parent)), asdict(columns)]
    target = cache / f"features-{_digest(content, ids)}.arrow"
    if target.is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    remove_abandoned(cache)
    convert(path, target, ids, columns, progress)
    return target


def convert(
    path: Path, target: Path, ids: IdIndex | None, columns: FeatureColumns, progress: Progress
) -> None:
    """Write the copy of `path` to `target`, in a folder that exists; raises as `converted` does."""
    match path.suffix.lower():
        case ".npz":
            blocks = npz_blocks(path) if ids is None else npz_array_blocks(path, ids, BLOCK_BYTES)
        case ".parquet":
            blocks = parquet_blocks(path, columns, BLOCK_BYTES)
        case _:
            blocks = arrow_blocks(path, columns)
    _write(blocks, target, path, progress)


def _digest(content: list[Any], ids: IdIndex | None) -> str:
    digest = hashlib.sha256(json.dumps(content).encode())
    for id_ in ids or ():
        digest.update(id_.encode() + b"\n")
    return digest.hexdigest()[:16]


def _write(blocks: Iterator[Block], target: Path, path: Path, progress: Progress) -> None:
    """Raises DataError for an empty file, or for vectors of different types or widths."""
    num_rows = 0
    with ExitStack() as stack:
        schema: pa.Schema | None = None
        writer: Any = None
        temporary = stack.enter_context(_atomic(target))
        for block in _merged(blocks, str(path)):
            if schema is None:
                schema = _schema(block)
                sink = stack.enter_context(pa.OSFile(str(temporary), "wb"))
                writer = stack.enter_context(pa.ipc.new_file(sink, schema))
            writer.write_batch(_batch(block, schema))
            num_rows += len(block.ids)
            progress(f"copying {path.name}", num_rows, None)
        if num_rows == 0:
            raise DataError(f"{path}: empty; found no features")
        progress(f"copying {path.name}", num_rows, num_rows)


@contextmanager
def _atomic(target: Path) -> Iterator[Path]:
    """Yield a temporary name of a file, which replaces `target` if the block raises nothing."""
    temporary = temporary_beside(target)
    try:
        yield temporary
        sync_file(temporary)
        replace_file(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _merged(blocks: Iterator[Block], name: str) -> Iterator[Block]:
    """The same rows in blocks of about `BLOCK_BYTES`."""
    waiting: list[Block] = []
    num_bytes = 0
    first: NDArray[Any] | None = None
    for block in blocks:
        first = block.values[:0] if first is None else first
        check_width(block, first.shape[1], name)
        if block.values.dtype != first.dtype:
            raise DataError(
                f"{name}: expected numbers of one type, found {first.dtype} and, at "
                f"'{block.ids[0].as_py()}', {block.values.dtype}"
            )
        if waiting and num_bytes + block.values.nbytes > BLOCK_BYTES:
            yield _joined(waiting)
            waiting, num_bytes = [], 0
        waiting.append(block)
        num_bytes += block.values.nbytes
    if waiting:
        yield _joined(waiting)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    return Block(
        pa.concat_arrays([block.ids for block in blocks]),
        np.concatenate([block.lengths for block in blocks]),
        np.concatenate([block.values for block in blocks]),
    )


def _schema(block: Block) -> pa.Schema:
    """The schema of the copy: float16 as it is, anything else as `gather` converts it."""
    item = pa.float16() if block.values.dtype == np.float16 else pa.float32()
    grid = pa.large_list(pa.list_(item, block.values.shape[1]))
    return pa.schema({COLUMNS.id: pa.large_string(), COLUMNS.features: grid})


def _batch(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    grid = schema.field(COLUMNS.features).type
    stored = grid.value_type.value_type.to_pandas_dtype()
    with np.errstate(over="ignore"):  # the check of features finds infinities
        values = pa.array(block.values.astype(stored).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(values, type=grid.value_type)
    offsets = pa.array(np.concatenate([[0], np.cumsum(block.lengths)]))
    lists = pa.LargeListArray.from_arrays(offsets, vectors, type=grid)
    return pa.record_batch([block.ids, lists], schema=schema)
