"""The encoded corpus: one Arrow file per split, which training reads as flat numpy arrays.

The file has a single uncompressed record batch, so each list column is one array of values and one
of offsets, both read from the memory map. Ids are without begin and end of sentence.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s2s.data.distributions import Distributions
from s2s.data.features.lookup import FeatureLines
from s2s.errors import RunError
from s2s.files import parse_json

FORMAT = 1
FORMAT_KEY = b"s2s.corpus"
SIZES_KEY = b"s2s.sizes"

SIDES = ("source", "target")

REFERENCES = "references_text"

FEATURES = "features"

_CHUNK = 1 << 20
"""Ids that are looked at together, which a processor's cache holds."""

_DAMAGED = (
    *(OSError, pa.ArrowException, ValueError, KeyError, IndexError, TypeError, OverflowError),
    *(MemoryError, SystemError),  # pyarrow, of a size that the file claims: nothing is copied
)

Ids = NDArray[np.integer[Any]]


class Links(Protocol):
    """The links of the tokens of some pairs (`s2s.data.alignment`)."""

    def dense(self, pairs: NDArray[np.int64], times: tuple[int, int]) -> NDArray[np.bool_]:
        """bool [B, T, S] of some pairs, int64 [B]; `times` are T and S."""
        ...


@dataclass(frozen=True)
class Encoded:
    """One side of some pairs: all their ids, concatenated, and the number of each pair."""

    values: Ids
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """The pairs of one split; pair i has the source
    `source_values[source_offsets[i]:source_offsets[i + 1]]`, and its target likewise."""

    source_values: Ids
    """uint16 or int32 [all source tokens]."""
    source_offsets: NDArray[np.int64]
    """int64 [pairs + 1]."""
    target_values: Ids
    """uint16 or int32 [all target tokens]."""
    target_offsets: NDArray[np.int64]
    """int64 [pairs + 1]."""
    _texts: tuple[pa.Array, pa.Array] | None = None
    _sizes: tuple[int, ...] = ()
    _references: pa.Array | None = None
    """All references of a pair, one line each."""
    rows_NF: NDArray[np.int64] | None = None
    """int64 [pairs, files]: rows of the feature files; None if there are none."""
    features: FeatureLines | None = None
    """The open feature files, if `open_corpus` was given them."""
    teacher: Distributions | None = None
    """The distributions of teachers over the target tokens, in distillation."""
    alignment: Links | None = None
    """Links of tokens, if `open_corpus` was asked for them."""
    places: NDArray[np.int64] | None = None
    """int64 [pairs], of an epoch of sampled segmentations: the place of each pair in the prepared
    corpus; None of that corpus itself."""

    def __len__(self) -> int:
        return len(self.source_offsets) - 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of pairs of each corpus in the mixture, which follow one another."""
        return self._sizes or (len(self),)

    @cached_property
    def source_lengths(self) -> NDArray[np.int64]:
        """int64 [pairs], end of sentence not counted."""
        return np.diff(self.source_offsets)

    @cached_property
    def target_lengths(self) -> NDArray[np.int64]:
        """int64 [pairs], end of sentence not counted."""
        return np.diff(self.target_offsets)

    @cached_property
    def memory_lengths(self) -> NDArray[np.int64]:
        """int64 [pairs]: the length of the encoder's memory, of tokens and regions together, less
        the end of sentence of a text."""
        if self.rows_NF is None or self.features is None:
            return self.source_lengths
        regions: NDArray[np.int64] = self.features.regions(self.rows_NF).sum(axis=1)
        return self.source_lengths + regions - (not self.features.has_text)

    @property
    def source_texts(self) -> list[str] | None:
        """The source as text; None in a training split without texts."""
        return self._texts[0].to_pylist() if self._texts else None

    @property
    def target_texts(self) -> list[str] | None:
        """The target (the reference) as text; None in a training split without texts."""
        return self._texts[1].to_pylist() if self._texts else None

    def texts(self, rows: NDArray[np.int64]) -> tuple[list[str], list[str]]:
        """Sources and targets of some pairs, int64 [rows], of a corpus with texts."""
        assert self._texts is not None, "prepared without texts"
        wanted = pa.array(rows)
        source, target = (column.take(wanted).to_pylist() for column in self._texts)
        return source, target

    def sources(self) -> NDArray[np.int64]:
        """int64 [pairs], of a corpus with texts: a number for each pair, the same of those with the
        same source, features included."""
        assert self._texts is not None, "prepared without texts"
        numbers: NDArray[np.int64] = self._texts[0].dictionary_encode().indices.to_numpy()
        return numbers.astype(np.int64)

    @property
    def references(self) -> list[list[str | None]] | None:
        """Sets of references as text, the first of each pair in the first set; a set has None for a
        pair with fewer. The targets if pairs have no others; None without texts."""
        targets = self.target_texts
        if targets is None or self._references is None:
            return None if targets is None else [list(targets)]
        each = [text.split("\n") for text in self._references.to_pylist()]
        return [list(lines) for lines in zip_longest(*each)]

    @classmethod
    def open(cls, path: Path) -> "Corpus":
        """Map the file into memory; nothing is copied.

        Raises RunError if it is missing, truncated or not written by `write_corpus`.
        """
        try:
            with pa.memory_map(str(path)) as mapped:
                return _read(pa.ipc.open_file(mapped))
        except FileNotFoundError as error:
            raise RunError(f"{path}: no such file; 's2s prep' makes it") from error
        except _DAMAGED as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise RunError(
                f"{path}: not a corpus of s2s, or damaged ({reason}); "
                "'s2s prep --force' makes it again"
            ) from error

    def check_ids(self, place: str, source: int, target: int, *, is_copying: bool = False) -> None:
        """Raise RunError, naming `place`, for ids beyond vocabularies of these sizes.

        A model that copies has extended ids (`s2s.text.extended_vocabulary`). All ids are read once
        from the memory map: a gigabyte takes a third of a second.
        """
        if is_copying:
            target += int(self.source_lengths.max(initial=0))
            source += target
        for side, values, most in (
            ("source", self.source_values, source),
            ("target", self.target_values, target),
        ):
            for start in range(0, len(values), _CHUNK):
                chunk = values[start : start + _CHUNK]
                least, largest = int(chunk.min()), int(chunk.max())
                if least < 0 or largest >= most:
                    found = least if least < 0 else largest
                    raise RunError(
                        f"{place}: damaged, or prepared with other tokenizers: expected {side} ids "
                        f"below {most:,}, found {found:,}; 's2s prep --force' makes it again"
                    )

    def check_rows(self, place: str, rows: Sequence[int]) -> None:
        """Raise RunError, naming `place`, unless pairs name rows of feature files with so many."""
        found = self.rows_NF
        if found is None or found.shape[1] != len(rows):
            many = 0 if found is None else found.shape[1]
            what = f"expected rows of {len(rows)} feature files, found those of {many}"
        elif len(found) and ((found < 0) | (found >= np.array(rows))).any():
            what = f"expected rows of feature files below {', '.join(map(str, rows))}, found others"
        else:
            return
        raise RunError(
            f"{place}: damaged, or prepared with other features: {what}; 's2s prep --force' makes "
            "it again"
        )

    @property
    def has_texts(self) -> bool:
        """Whether the texts of pairs are kept, as in all splits but some for training."""
        return self._texts is not None


def _read(file: pa.ipc.RecordBatchFileReader) -> Corpus:
    """The corpus of an open file. Raises ValueError for any other file."""
    found = (file.schema.metadata or {}).get(FORMAT_KEY)
    if found != str(FORMAT).encode():
        raise ValueError(f"expected format {FORMAT}, found {found.decode() if found else 'none'}")
    if file.num_record_batches != 1:
        raise ValueError(f"expected one record batch, found {file.num_record_batches}")
    batch = file.get_batch(0)
    _check_types(batch)
    batch.validate(full=True)  # offsets ascend, texts are UTF-8
    arrays: list[Any] = []
    for side in SIDES:
        column = batch.column(side)
        values = column.values.to_numpy(zero_copy_only=True)
        offsets = column.offsets.to_numpy(zero_copy_only=True)
        if offsets[0] != 0 or offsets[-1] != len(values):
            raise ValueError(f"the offsets of '{side}' do not span its values")
        arrays += [values, offsets]
    names = [f"{side}_text" for side in SIDES]
    has_text = set(names) <= set(batch.schema.names)
    texts = (batch.column(names[0]), batch.column(names[1])) if has_text else None
    has_references = REFERENCES in batch.schema.names
    references = batch.column(REFERENCES) if has_references else None
    sizes = tuple(parse_json(file.schema.metadata.get(SIZES_KEY, b"[]")))
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("the sizes of its corpora are no whole numbers")
    if sizes and sum(sizes) != batch.num_rows:
        raise ValueError(f"corpora of {sizes} pairs do not make {batch.num_rows}")
    rows = _rows(batch) if FEATURES in batch.schema.names else None
    return Corpus(arrays[0], arrays[1], arrays[2], arrays[3], texts, sizes, references, rows)


def _check_types(batch: pa.RecordBatch) -> None:
    """Raises ValueError unless all columns of a corpus are there, with their types."""
    lists = {side: (pa.uint16(), pa.int32()) for side in SIDES} | {FEATURES: (pa.int64(),)}
    for name in {*SIDES, *batch.schema.names}:
        if batch.schema.names.count(name) != 1:
            raise ValueError(f"expected one column '{name[:40]}'")
        column = batch.column(name)
        if name in lists:
            is_sound = pa.types.is_large_list(column.type) and column.type.value_type in lists[name]
        else:
            is_sound = pa.types.is_large_string(column.type)
        if not is_sound or column.null_count or column.offset:
            raise ValueError(f"column '{name[:40]}' is of type {str(column.type)[:40]}")


def _rows(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """int64 [pairs, files]. Raises ValueError for pairs with different numbers of rows."""
    values = batch.column(FEATURES).values.to_numpy(zero_copy_only=True)
    if batch.num_rows and len(values) % batch.num_rows:
        raise ValueError(f"{len(values)} rows of features for {batch.num_rows} pairs")
    rows: NDArray[np.int64] = values.reshape(batch.num_rows, -1)
    return rows


class CorpusWriter:
    """Collects pairs in files beside the final one; memory does not grow with the corpus."""

    def __init__(self, columns: "dict[str, _Column]") -> None:
        self._columns = columns
        self.sizes: tuple[int, ...] = ()
        """Pairs of each of several corpora, set after the last pair; empty for one corpus."""

    def append(
        self,
        source: Encoded,
        target: Encoded,
        texts: tuple[Sequence[str], Sequence[str]] | None = None,
        references: Sequence[Sequence[str]] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Add pairs, with texts, references (one line each) and rows of features (int64
        [pairs, files]) if and only if the corpus has them."""
        if rows is not None:
            lengths = np.full(len(rows), rows.shape[1], dtype=np.int64)
            self._columns[FEATURES].append(Encoded(rows.reshape(-1), lengths))
        self._columns["source"].append(source)
        self._columns["target"].append(target)
        kept = {f"{side}_text": lines for side, lines in zip(SIDES, texts or (), strict=False)}
        if references is not None:
            kept[REFERENCES] = ["\n".join(lines) for lines in references]
        for name, lines in kept.items():
            raw = [line.encode() for line in lines]
            lengths = np.fromiter(map(len, raw), np.int64, len(raw))
            values = np.frombuffer(b"".join(raw), np.uint8)
            self._columns[name].append(Encoded(values, lengths))


@contextmanager
def write_corpus(
    path: Path,
    *,
    vocabulary: int,
    with_text: bool,
    with_references: bool = False,
    with_features: bool = False,
) -> Iterator[CorpusWriter]:
    """Yield a writer; the file is at `path` once the block has ended without an error.

    Ids have 16 bits if `vocabulary` (the larger of the two) allows. The caller provides the atomic
    folder around the file; the files beside it are deleted in any case.
    """
    id_type = pa.uint16() if vocabulary <= 2**16 else pa.int32()
    types = {side: pa.large_list(pa.field("item", id_type, nullable=False)) for side in SIDES}
    if with_text:
        types |= {f"{side}_text": pa.large_string() for side in SIDES}
    if with_references:
        types[REFERENCES] = pa.large_string()
    if with_features:
        types[FEATURES] = pa.large_list(pa.field("item", pa.int64(), nullable=False))
    with ExitStack() as stack:
        columns = {name: stack.enter_context(_column(path, name, types[name])) for name in types}
        collector = CorpusWriter(columns)
        yield collector
        _write_batch(path, columns, types, collector.sizes)


def _write_batch(
    path: Path, columns: "dict[str, _Column]", types: dict[str, pa.DataType], sizes: tuple[int, ...]
) -> None:
    """Write the collected columns as one batch.

    Afterwards their files are no longer mapped: Windows cannot delete mapped files.
    """
    with ExitStack() as stack:
        arrays = [column.finish(stack) for column in columns.values()]
        fields = [pa.field(name, type_, nullable=False) for name, type_ in types.items()]
        metadata = {FORMAT_KEY: str(FORMAT).encode()}
        if sizes:
            metadata[SIZES_KEY] = json.dumps(sizes).encode()
        schema = pa.schema(fields, metadata=metadata)
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(batch)


class _Column:
    """One list or text column while it is collected: a file of values and one of offsets."""

    def __init__(self, type_: pa.DataType, values: BinaryIO, offsets: BinaryIO) -> None:
        self._type = type_
        self._values = values
        self._offsets = offsets
        self._num_rows = 0
        self._num_values = 0
        offsets.write(struct.pack("<q", 0))

    def append(self, rows: Encoded) -> None:
        is_text = pa.types.is_large_string(self._type)
        width = np.dtype(np.uint8) if is_text else self._type.value_type.to_pandas_dtype()
        self._values.write(np.ascontiguousarray(rows.values, dtype=width).data)
        ends = self._num_values + np.cumsum(rows.lengths, dtype=np.int64)
        self._offsets.write(ends.astype("<i8").data)
        self._num_rows += len(rows.lengths)
        self._num_values += len(rows.values)

    def finish(self, stack: ExitStack) -> pa.Array:
        """The column over the files' memory maps."""
        values, offsets = (_mapped(file, stack) for file in (self._values, self._offsets))
        if pa.types.is_large_string(self._type):
            return pa.Array.from_buffers(self._type, self._num_rows, [None, offsets, values])
        items = pa.Array.from_buffers(self._type.value_type, self._num_values, [None, values])
        return pa.Array.from_buffers(self._type, self._num_rows, [None, offsets], children=[items])


@contextmanager
def _column(path: Path, name: str, type_: pa.DataType) -> Iterator[_Column]:
    parts = [path.with_name(f"{path.name}.{name}.{part}") for part in ("values", "offsets")]
    try:
        with parts[0].open("wb") as values, parts[1].open("wb") as offsets:
            yield _Column(type_, values, offsets)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _mapped(file: BinaryIO, stack: ExitStack) -> pa.Buffer:
    file.flush()
    if file.tell() == 0:  # an empty file cannot be mapped
        return pa.py_buffer(b"")
    return stack.enter_context(pa.memory_map(file.name)).read_buffer()
