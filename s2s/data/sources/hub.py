"""Data sets of the Hugging Face Hub, and local folders of the same layout."""

import errno
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from s2s.data.sources.arrow_text import check_columns, pairs
from s2s.data.sources.chunks import CHUNK_PAIRS, Chunk, did_you_mean, file_fingerprint, found_list
from s2s.data.sources.columns import SplitColumns
from s2s.data.sources.tables import RowTable, open_table, table_format
from s2s.errors import DataError
from s2s.messages import is_quiet
from s2s.recipe.data import DatasetData

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder


NEEDED = "; expected one with the files of a data set, or a name of the hub, owner/name"

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""Errors of a cache that cannot be written, as where there is no home directory."""

PATTERN = re.compile(r"[\[\]*?]")
"""What the library reads as a pattern, also in the name of a folder."""


@dataclass(frozen=True)
class DatasetSplit:
    """One split of a data set, read through the `datasets` library and its cache."""

    data: DatasetData
    split: str
    """Name of the split in the data set, or a slice of one (`train[:1000]`)."""
    columns: SplitColumns

    def fingerprint(self) -> dict[str, Any]:
        """A local folder's files and their names; name, configuration and revision on the hub.

        The hub is not asked whether a data set without a pinned revision has changed: a run keeps
        the data it began with, also without network. `s2s prep --force` fetches them again.
        """
        folder = Path(self.data.dataset)
        named = {
            "config": self.data.config,
            "split": self.split,
            **self.columns.fingerprint(),
        }
        if not folder.is_dir():
            return {"dataset": self.data.dataset, "revision": self.data.revision, **named}
        files = sorted(
            path
            for path in folder.rglob("[!.]*")
            if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
        )
        names = [path.relative_to(folder).as_posix() for path in files]
        listed = [file_fingerprint(*one) for one in zip(files, names, strict=True)]
        return {"folder": listed, **named}

    def expected(self) -> int:
        """The rows, each of which is a pair unless its target is a list."""
        return len(self._open())

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError for a missing split or column, with those that there are."""
        dataset = self._open()
        place = f"{self.data.dataset}, split '{self.split}'"
        check_columns(dataset.features.arrow_schema, self.columns, place)
        if Path(self.data.dataset).is_dir():
            self._check_tables()
        first_row = 0
        for table in dataset.with_format("arrow").iter(CHUNK_PAIRS):
            yield pairs(table, self.columns, (place, first_row))
            first_row += table.num_rows

    def _check_tables(self) -> None:
        """Look at the CSV and TSV files of a folder, which the library reads with pandas.

        Raises DataError for what pandas reads as other pairs without a word: it takes a surplus
        field for an index, renames the second of two equal columns, and fills missing fields.
        """
        config = _prepared(self.data.dataset, self.data.config, self.data.revision).config
        separator = str(getattr(config, "sep", ""))
        if getattr(config, "names", None) is not None:
            return
        for file in map(Path, (config.data_files or {}).get(self.base, ())):
            if table_format(file) == {",": ".csv", "\t": ".tsv"}.get(separator, ""):
                status = file.stat()
                _check_table(file, self.columns, (status.st_size, status.st_mtime_ns))

    def _open(self) -> "Dataset":
        place = (self.data.dataset, self.data.config, self.data.revision)
        builder = _prepared(*place)
        base, splits = self.base, splits_of(builder)
        if base in splits and not builder.info.splits:
            builder = _prepared_alone(*place, base)
        self.require(splits)
        try:
            dataset: Dataset = builder.as_dataset(split=self.split)
        except ValueError as error:
            raise DataError(f"{self.data.dataset}: split '{self.split}': {error}") from error
        return dataset

    @property
    def base(self) -> str:
        """The split's name without a slice."""
        return re.split(r"[\[+]", self.split)[0]

    def require(self, splits: list[str]) -> None:
        """Raises DataError unless the data set has the split."""
        if self.base not in splits:
            raise DataError(
                f"{self.data.dataset}: no split '{self.base}'{did_you_mean(self.base, splits)}; "
                f"{found_list(splits)}; {self._remedy(self.base)}"
            )

    def _remedy(self, split: str) -> str:
        """What to write in the recipe for a data set without a split."""
        names = self.data.splits
        if split == names.validation:
            return "name one in data.splits.validation, or make it null and add data.hold_out"
        if split == names.test:
            return "name one in data.splits.test, or make it null (data.hold_out.test takes some)"
        return "name one in data.splits.train"


def open_dataset(
    data: DatasetData, split: Literal["train", "validation", "test"], columns: SplitColumns
) -> DatasetSplit | None:
    """The split of that role; None if the recipe names none."""
    name = {
        "train": data.splits.train,
        "validation": data.splits.validation,
        "test": data.splits.test,
    }[split]
    return None if name is None else DatasetSplit(data, name, columns)


def splits_of(builder: "DatasetBuilder") -> list[str]:
    """The names of a data set's splits."""
    return [str(name) for name in builder.info.splits or builder.config.data_files or {}]


def check_folder(split: DatasetSplit) -> None:
    """Look at a split in a local folder without converting the data set.

    Raises DataError where the split is missing, or where the first rows of its first file are no
    pairs; files of a format that s2s does not read itself are not opened.
    """
    builder = _builder(split.data.dataset, split.data.config, split.data.revision)
    split.require(splits_of(builder))
    files = {str(name): found for name, found in (builder.config.data_files or {}).items()}
    readable = [Path(file) for file in files.get(split.base, []) if table_format(Path(file))]
    if readable:
        table = open_table(readable[0], split.columns, has_header=True)
        if isinstance(table, RowTable) and table.format == ".tsv":
            table.check()  # the library takes quotation marks in a TSV for those of a CSV
        else:
            next(table.chunks(), None)


@lru_cache(maxsize=1024)  # splits are read several times
def _check_table(path: Path, columns: SplitColumns, state: tuple[int, int]) -> None:
    """Raises DataError as `RowTable.check` does; `state` changes with the file."""
    table = open_table(path, columns, has_header=True)
    assert isinstance(table, RowTable), "no Parquet is read with pandas"
    table.check()


@lru_cache(maxsize=8)  # the three splits of a run resolve the data set once
def _prepared(dataset: str, config: str | None, revision: str | None) -> "DatasetBuilder":
    """The data set, downloaded (unless it is a folder) and converted in the library's cache.

    The library converts splits of different columns, such as references in test alone, only one at
    a time: `info.splits` is empty then, and `_prepared_alone` does that. Raises DataError with the
    library's message.
    """
    import datasets

    builder = _builder(dataset, config, revision)
    try:
        builder.download_and_prepare()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error.__cause__, datasets.table.CastError) and builder.config.data_files:
            return _builder(dataset, config, revision)
        raise _library_error(dataset, error) from error
    return builder


@lru_cache(maxsize=8)
def _prepared_alone(
    dataset: str, config: str | None, revision: str | None, split: str
) -> "DatasetBuilder":
    """One split of a data set whose splits have different columns. Raises DataError."""
    import datasets

    files = _builder(dataset, config, revision).config.data_files[split]
    builder = _builder(dataset, config, revision, {split: list(files)})
    try:
        builder.download_and_prepare()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise _library_error(dataset, error) from error
    return builder


def _builder(
    dataset: str,
    config: str | None,
    revision: str | None,
    files: dict[str, list[str]] | None = None,
) -> "DatasetBuilder":
    """The builder of the data set, or of some of its files. Raises DataError if there is none."""
    if dataset.startswith((".", "/", "~")) and not Path(dataset).is_dir():
        raise DataError(f"{dataset}: no such folder{NEEDED}")
    if Path(dataset).is_dir() and (found := PATTERN.search(str(Path(dataset).resolve()))):
        raise DataError(
            f"{dataset}: the library of data sets reads {found[0]} in the name of a folder as part "
            f"of a pattern (brackets, * or ?); rename {Path(dataset).resolve()}, or name its files "
            "with kind: files"
        )
    import datasets

    if is_quiet() or not sys.stderr.isatty():
        datasets.disable_progress_bars()
    datasets.logging.set_verbosity(
        datasets.logging.CRITICAL
    )  # errors are raised, and reported by s2s
    try:
        return datasets.load_dataset_builder(dataset, config, revision=revision, data_files=files)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise _library_error(dataset, error) from error


def _library_error(dataset: str, error: Exception) -> DataError:
    """The library's message, with the remedy where its cache cannot be written."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is not None:
        return DataError(
            f"{dataset}: the library of data sets keeps a copy of them, and cannot write it: "
            f"{error.filename}: {error.strerror}; the variable HF_HOME names another folder"
        )
    cause = error.__cause__ or error  # "an error occurred" has the error itself as its cause
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return DataError(f"{dataset}: {reason}")


@dataclass(frozen=True)
class FirstRows:
    """The splits of a data set and the first rows of its training split."""

    splits: tuple[str, ...]
    columns: dict[str, list[Any]]


def first_rows(dataset: str, count: int) -> FirstRows:
    """The first `count` rows of a data set on the hub or in a folder; it is downloaded if it must
    be. Raises DataError with the library's message."""
    builder = _prepared(dataset, None, None)
    splits = tuple(splits_of(builder))
    train = next((name for name in splits if name.startswith("train")), splits[0])
    if not builder.info.splits:
        builder = _prepared_alone(dataset, None, None, train)
    part = builder.as_dataset(split=f"{train}[:{count}]")
    return FirstRows(splits, {name: part[name][:] for name in part.column_names})
