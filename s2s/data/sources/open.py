"""Opens the splits of a recipe's data: text files, tables, data sets, generated corpora.

A split can be read any number of times and holds one chunk of pairs in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, assert_never

from s2s.data.sources.chunks import CHUNK_PAIRS, Chunk, clean, file_fingerprint, with_texts
from s2s.data.sources.columns import SplitColumns, id_columns
from s2s.data.sources.file_names import described, files_of
from s2s.data.sources.group import GroupedSplit
from s2s.data.sources.hold_out import HoldOutSplit
from s2s.data.sources.hub import open_dataset
from s2s.data.sources.mixture import Mixture
from s2s.data.sources.split import SPLITS, Split, SplitName
from s2s.data.sources.tables import ParquetTable, RowTable, open_table
from s2s.data.sources.target_text import TargetTextSplit
from s2s.errors import DataError
from s2s.recipe.data import (
    AnyCorpus,
    CorpusData,
    Data,
    DatasetData,
    FilesData,
    GeneratedData,
    SeveralData,
    corpora_of,
)
from s2s.recipe.filters import HoldOut, TargetText
from s2s.recipe.section import Files
from s2s.text.byte_lines import NO_LINES
from s2s.text.line_blocks import read_blocks
from s2s.text.lines import count_lines

PROCESSING_FIELDS = {item.name for item in fields(CorpusData)} - {"kind"}
"""Fields about the processing of pairs, which do not affect the pairs that are generated."""


@dataclass(frozen=True)
class ParallelFiles:
    """Plain text files of sources, targets and any references; lines i belong together."""

    source: Path
    target: Path
    references: tuple[Path, ...] = ()

    def fingerprint(self) -> dict[str, Any]:
        """All files."""
        pair = {"source": file_fingerprint(self.source), "target": file_fingerprint(self.target)}
        references = [file_fingerprint(path) for path in self.references]
        return {**pair, "references": references} if references else pair

    def expected(self) -> int:
        """The lines of the target."""
        return count_lines(self.target)

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError for unequal numbers of lines, with both, and for empty files."""
        num_pairs = 0
        with ExitStack() as stack:
            paths = (self.source, self.target, *self.references)
            blocks = [read_blocks(path, CHUNK_PAIRS) for path in paths]
            files = [stack.enter_context(closing(file)) for file in blocks]
            while True:
                columns = [next(file, NO_LINES) for file in files]
                if len(set(map(len, columns))) > 1:
                    rest = [sum(map(len, file)) for file in files]
                    pairs = zip(columns, rest, strict=True)
                    raise self._unequal([num_pairs + len(read) + left for read, left in pairs])
                source, target, *references = columns
                if not source:
                    break
                num_pairs += len(source)
                yield with_texts(Chunk(source, target), references)
        if num_pairs == 0:
            raise DataError(f"{self.source}: empty file")

    def _unequal(self, counts: list[int]) -> DataError:
        """The error for unequal `counts` of lines of sources, targets and references."""
        others = zip((self.target, *self.references), counts[1:], strict=True)
        path, count = next(other for other in others if other[1] != counts[0])
        return DataError(
            f"{self.source} has {counts[0]} lines but {path} has {count}; "
            "line i of one must belong to line i of the other"
        )


@dataclass(frozen=True)
class ParallelFileSets:
    """Sets of parallel files, one after the other: file i of all sides belong together."""

    source: Files
    target: Files
    references: tuple[Files, ...] = ()

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprints of all sets. Raises DataError for a missing file."""
        return _fingerprint_of_all(self.parts())

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError as each set does, and for unequal numbers of files."""
        for part in self.parts():
            yield from part.chunks()

    def expected(self) -> int:
        """The lines of all targets."""
        return sum(part.expected() for part in self.parts())

    def parts(self) -> list[ParallelFiles]:
        """The sets. Raises DataError for unequal numbers of files."""
        sides = (self.source, self.target, *self.references)
        source, *others = expanded = [files_of(side) for side in sides]
        for side, files in zip(sides[1:], others, strict=True):
            if len(files) != len(source):
                raise DataError(
                    f"{described(self.source)}: found {len(source)}, but for {described(side)} "
                    f"{len(files)}; file i of one must belong to file i of the other"
                )
        return [
            ParallelFiles(one, two, tuple(rest)) for one, two, *rest in zip(*expanded, strict=True)
        ]


@dataclass(frozen=True)
class Tables:
    """Tables, one after the other."""

    files: Files
    columns: SplitColumns
    has_header: bool
    max_damaged: float

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprints of all tables. Raises DataError for a missing file."""
        return _fingerprint_of_all(self.parts())

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError as each table does."""
        for part in self.parts():
            yield from part.chunks()

    def expected(self) -> int | None:
        """The rows of all tables; None if one does not know them."""
        found = [part.expected() for part in self.parts()]
        return None if None in found else sum(number for number in found if number is not None)

    def parts(self) -> list[RowTable | ParquetTable]:
        """The tables."""
        found = files_of(self.files)
        return [
            open_table(path, self.columns, has_header=self.has_header, max_damaged=self.max_damaged)
            for path in found
        ]


def _fingerprint_of_all(parts: Sequence[Split]) -> dict[str, Any]:
    """The fingerprint of a single part, as it was when there was only one, or those of several."""
    found = [part.fingerprint() for part in parts]
    return found[0] if len(found) == 1 else {"files": found}


@dataclass(frozen=True)
class Generated:
    """A synthetic corpus."""

    data: GeneratedData
    split: SplitName

    def fingerprint(self) -> dict[str, Any]:
        """The generator's parameters."""
        own = {
            name: value
            for name, value in asdict(self.data).items()
            if name not in PROCESSING_FIELDS
        }
        return {**own, "filters": None, "split": self.split}

    def expected(self) -> int:
        """As many as the recipe says."""
        return self.data.pairs if self.split == "train" else self.data.held_out

    def chunks(self) -> Iterator[Chunk]:
        """Runs the generator."""
        from s2s.data.synthetic.corpus import generate  # imports a localization library

        pairs = generate(self.data, self.split)
        while batch := list(islice(pairs, CHUNK_PAIRS)):
            yield clean([source for source, _ in batch], [target for _, target in batch])


def open_split(data: Data, split: SplitName) -> Split | None:
    """The split of the recipe's data; None if the recipe has none of that name.

    Nothing is read before a call of `fingerprint` or `chunks`.
    """
    chosen = corpora_of(data)
    if isinstance(data, SeveralData) and split != "train":
        chosen = (data.evaluated,)
    found = [(opened, part.tag) for part in chosen if (opened := _open_corpus(part, split))]
    if not found:
        return None
    if len(found) == 1 and found[0][1] is None:
        return found[0][0]
    return Mixture(tuple(opened for opened, _ in found), tuple(tag for _, tag in found))


def _open_corpus(data: AnyCorpus, split: SplitName) -> Split | None:
    """The split of a corpus; None if it has none of that name."""
    opened: Split | None
    if isinstance(data, GeneratedData) or not _is_divided(data.hold_out, split):
        opened = _open(data, split)
    else:
        divided = _open(data, "train", is_train=split == "train")
        assert divided is not None, "every recipe names training pairs"
        assert data.hold_out is not None
        opened = HoldOutSplit(divided, data.hold_out, split, len(id_columns(data.image_features)))
    if opened is not None and split != "train" and _is_grouped(data):
        opened = GroupedSplit(opened, split)
    if opened is None or data.target_text == TargetText():
        return opened
    return TargetTextSplit(opened, data.target_text)


def _is_grouped(data: AnyCorpus) -> bool:
    return not isinstance(data, GeneratedData) and data.columns.group is not None


def open_named(data: AnyCorpus, split: SplitName) -> Split | None:
    """The pairs that a corpus names for a split, before any are held out or normalized; None if it
    names none."""
    return _open(data, split)


def _is_divided(hold_out: HoldOut | None, split: SplitName) -> bool:
    """Whether a split is a part of the training split."""
    if hold_out is None:
        return False
    shares = {"train": 1.0, "validation": hold_out.share, "test": hold_out.test}
    return shares[split] > 0.0


def _open(data: AnyCorpus, split: SplitName, *, is_train: bool | None = None) -> Split | None:
    """The split of the source; `is_train` says whether to read it as training data (None: if it
    is)."""
    reads_train = split == "train" if is_train is None else is_train
    match data:
        case DatasetData():
            return open_dataset(data, split, _columns(data, split, reads_train))
        case FilesData():
            return _open_files(data, split, _columns(data, split, reads_train))
        case GeneratedData():
            return Generated(data, split)
        case _:
            assert_never(data)


def _columns(data: DatasetData | FilesData, split: SplitName, is_train: bool) -> SplitColumns:
    """The columns to read of a split; that of training has no references, and no groups."""
    columns = data.columns
    if split == "train":
        columns = replace(columns, references=None)
    if is_train:
        columns = replace(columns, group=None)
    return SplitColumns(columns, id_columns(data.image_features), is_train)


def _open_files(data: FilesData, split: SplitName, columns: SplitColumns) -> Split | None:
    files = {"train": data.train, "validation": data.validation, "test": data.test}[split]
    if files is None:
        return None
    references = files.references or ()
    if files.table is not None:
        names = tuple(str(name) for name in references)  # FileSet has checked
        columns = replace(columns, references=names)
        return Tables(files.table, columns, data.header, data.max_damaged)
    assert files.target is not None  # FileSet has checked
    # A language model has targets alone; nothing reads its sources.
    return ParallelFileSets(files.source or files.target, files.target, references)


__all__ = ["SPLITS", "Generated", "ParallelFiles", "Split", "SplitName", "open_split"]
