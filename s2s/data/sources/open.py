"""Where sentence pairs come from: one kind of split per kind of source, all read the same way.

A split can be read any number of times and holds one chunk of pairs in memory.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, assert_never

from s2s.data.sources.chunks import CHUNK_PAIRS, Chunk, clean, file_identity, with_texts
from s2s.data.sources.columns import Layout, id_columns
from s2s.data.sources.hold_out import SharedSplit
from s2s.data.sources.hub import open_dataset
from s2s.data.sources.mixture import Mixture
from s2s.data.sources.split import SPLITS, Split, SplitName
from s2s.data.sources.tables import open_table
from s2s.data.sources.target_text import TreatedSplit
from s2s.errors import DataError
from s2s.recipe.data import (
    AnyCorpus,
    Corpus,
    Data,
    DatasetData,
    FilesData,
    GeneratedData,
    SeveralData,
    corpora_of,
)
from s2s.recipe.filters import TargetText
from s2s.text.lines import read_lines

TREATMENT = {item.name for item in fields(Corpus)} - {"kind"}
"""Fields that say what is done with pairs, not which there are."""


@dataclass(frozen=True)
class ParallelFiles:
    """Plain text files: sources, targets, any references; lines of one number belong together."""

    source: Path
    target: Path
    references: tuple[Path, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Size and time of all files."""
        pair = {"source": file_identity(self.source), "target": file_identity(self.target)}
        references = [file_identity(path) for path in self.references]
        return {**pair, "references": references} if references else pair

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError for unequal numbers of lines, with both, and for empty files."""
        num_pairs = 0
        with ExitStack() as stack:
            paths = (self.source, self.target, *self.references)
            files = [stack.enter_context(closing(read_lines(path))) for path in paths]
            while True:
                columns = [list(islice(file, CHUNK_PAIRS)) for file in files]
                if len(set(map(len, columns))) > 1:
                    rest = [sum(1 for _ in file) for file in files]
                    pairs = zip(columns, rest, strict=True)
                    raise self._unequal([num_pairs + len(read) + left for read, left in pairs])
                source, target, *references = columns
                if not source:
                    break
                num_pairs += len(source)
                yield with_texts(clean(source, target), references)
        if num_pairs == 0:
            raise DataError(f"{self.source}: empty file")

    def _unequal(self, counts: list[int]) -> DataError:
        """`counts` are of lines: of sources, targets and each file of references."""
        others = zip((self.target, *self.references), counts[1:], strict=True)
        path, count = next(other for other in others if other[1] != counts[0])
        return DataError(
            f"{self.source} has {counts[0]} lines but {path} has {count}; "
            "line i of one must belong to line i of the other"
        )


@dataclass(frozen=True)
class Generated:
    """A corpus that s2s makes itself."""

    data: GeneratedData
    split: SplitName

    def identity(self) -> dict[str, Any]:
        """The generator's parameters."""
        own = {name: value for name, value in asdict(self.data).items() if name not in TREATMENT}
        return {**own, "filters": None, "split": self.split}

    def chunks(self) -> Iterator[Chunk]:
        """Runs the generator."""
        from s2s.data.synthetic.corpus import generate  # it brings a localization library along

        pairs = generate(self.data, self.split)
        while batch := list(islice(pairs, CHUNK_PAIRS)):
            yield clean([source for source, _ in batch], [target for _, target in batch])


def open_split(data: Data, split: SplitName) -> Split | None:
    """The split of the recipe's data, or None where the recipe has none of that name.

    Nothing is read before its `identity` or its `chunks` are asked for.
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
    """The split of a corpus, or None where it has none of that name."""
    opened: Split | None
    if isinstance(data, GeneratedData) or data.hold_out is None or split == "test":
        opened = _open(data, split)
    else:
        divided = _open(data, "train", is_train=split == "train")
        assert divided is not None, "every recipe names training pairs"
        is_held_out, num_ids = split == "validation", len(id_columns(data.image_features))
        opened = SharedSplit(divided, data.hold_out, is_held_out, num_ids)
    if opened is None or data.target_text == TargetText():
        return opened
    return TreatedSplit(opened, data.target_text)


def _open(data: AnyCorpus, split: SplitName, *, is_train: bool | None = None) -> Split | None:
    """The split as the source has it, read as training data if `is_train`, by default if it is."""
    reads_train = split == "train" if is_train is None else is_train
    match data:
        case DatasetData():
            return open_dataset(data, split, _layout(data, split, reads_train))
        case FilesData():
            return _open_files(data, split, _layout(data, split, reads_train))
        case GeneratedData():
            return Generated(data, split)
        case _:
            assert_never(data)


def _layout(data: DatasetData | FilesData, split: SplitName, is_train: bool) -> Layout:
    """What is read of a split; only those that are held out from the first have references."""
    columns = data.columns
    if split == "train":
        columns = replace(columns, references=None)
    return Layout(columns, id_columns(data.image_features), is_train)


def _open_files(data: FilesData, split: SplitName, layout: Layout) -> Split | None:
    files = {"train": data.train, "validation": data.validation, "test": data.test}[split]
    if files is None:
        return None
    references = files.references or ()
    if files.table is not None:
        layout = replace(layout, references=references)
        return open_table(Path(files.table), layout, has_header=data.header)
    assert files.source is not None and files.target is not None  # FileSet has checked
    return ParallelFiles(Path(files.source), Path(files.target), tuple(map(Path, references)))


__all__ = ["SPLITS", "Generated", "ParallelFiles", "Split", "SplitName", "open_split"]
