"""Looks at the data that a recipe names: files that are there, columns that exist, text in UTF-8.

Only the first rows are read, and nothing is downloaded: neither data sets on the hub nor URLs are
looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from s2s.data.sources.file_names import files_of
from s2s.data.sources.hub import NEEDED, DatasetSplit, check_folder
from s2s.data.sources.open import ParallelFileSets, Tables, open_named
from s2s.data.sources.split import SPLITS, Split, SplitName
from s2s.errors import DataError
from s2s.files import did_you_mean_file
from s2s.recipe.data import AnyCorpus, DatasetData, FilesData, GeneratedData, SeveralData
from s2s.recipe.recipe import Recipe
from s2s.recipe.section import Files
from s2s.recipe.tokenizer import SentencePieceTokenizer, sides_of
from s2s.recipe.yaml import Keys
from s2s.text.remote import url_of

MOST_FILES = 10
"""Files, or pairs of files, of a split whose first rows are read; the others only have to exist."""

Found = tuple[Keys, str]
"""A fault: the keys of the recipe that it concerns, and what is wrong."""


def data_faults(recipe: Recipe) -> Iterator[Found]:
    """Faults of the recipe's local data, for each file the first that is met."""
    data = recipe.data
    for keys, name in _beside_data(recipe):
        if fault := _missing(name):
            yield keys, fault
    if isinstance(data, SeveralData):
        for number, part in enumerate(data.corpora):
            splits = SPLITS if part is data.evaluated else ("train",)
            yield from _corpus_faults(part, ("data", "corpora", number), splits)
    else:
        yield from _corpus_faults(data, ("data",), SPLITS)


def _beside_data(recipe: Recipe) -> Iterator[tuple[Keys, str]]:
    """Other files that a recipe names: models of sentencepiece, word vectors, alignments."""
    for place, side in sides_of(recipe.tokenizer).items():
        if isinstance(side, SentencePieceTokenizer):
            yield (*place.split("."), "model"), side.model
    for side_name, file in vars(recipe.model.pretrained).items() if recipe.model.pretrained else ():
        if file is not None:
            yield ("model", "pretrained", side_name), file
    guided = recipe.train.guided_alignment
    if guided is not None and guided.alignments is not None:
        yield ("train", "guided_alignment", "alignments"), guided.alignments


def unseen(recipe: Recipe) -> list[str]:
    """The data sets of the hub and the URLs, which are not looked at."""
    data = recipe.data
    parts = data.corpora if isinstance(data, SeveralData) else (data,)
    found = []
    for part in parts:
        if isinstance(part, DatasetData) and not _is_local(part):
            found.append(part.dataset)
        elif isinstance(part, FilesData):
            names = [name for split in SPLITS for _, name in _names(part, split)]
            found += [name for name in names if url_of(name) is not None]
    return found


def _corpus_faults(part: AnyCorpus, keys: Keys, splits: tuple[SplitName, ...]) -> Iterator[Found]:
    if isinstance(part, GeneratedData):
        return
    for number, features in enumerate(part.image_features):
        for name, value in (("path", features.path), ("ids", features.ids)):
            if value is not None and (fault := _missing(value)):
                yield (*keys, "image_features", number, name), fault
    if isinstance(part, DatasetData):
        if _is_local(part):
            yield from _folder_faults(part, keys)
        return
    for split in splits:
        yield from _split_faults(part, keys, split)


def _split_faults(part: FilesData, keys: Keys, split: SplitName) -> Iterator[Found]:
    named: dict[Keys, list[Path]] = {}
    is_whole = True
    for own, name in _names(part, split):
        if url_of(name) is not None:  # the rows of the others belong to its rows
            is_whole = False
            continue
        named[own], faults = _files(name)
        yield from (((*keys, *own), fault) for fault in faults)
        is_whole = is_whole and not faults
    if named and is_whole:
        yield from _first_rows(part, keys, split, named)


def _names(part: FilesData, split: SplitName) -> Iterator[tuple[Keys, str]]:
    """The files and patterns of a split by their keys."""
    files = {"train": part.train, "validation": part.validation, "test": part.test}[split]
    if files is None:
        return
    for name in ("source", "target", "table"):
        if (entry := getattr(files, name)) is not None:
            yield from _entry((split, name), entry)
    if files.table is None:
        for number, entry in enumerate(files.references or ()):
            yield from _entry((split, "references", number), entry)


def _entry(keys: Keys, entry: Files) -> Iterator[tuple[Keys, str]]:
    if isinstance(entry, str):
        yield keys, entry
        return
    for number, name in enumerate(entry):
        yield (*keys, number), name


def _files(name: str) -> tuple[list[Path], list[str]]:
    """The files of a name or pattern, and why some cannot be read."""
    try:
        found = files_of(name)
    except DataError as error:
        return [], [f"{error}, in {Path.cwd()}, where the command runs"]
    return found, [fault for path in found if (fault := _missing(str(path)))]


def _missing(path: str) -> str | None:
    """Why a file cannot be read; None for one that can be tried."""
    place = Path(path)
    if place.is_file():
        return None
    if place.is_dir():
        return f"{path}: expected a file, found a folder"
    return f"{path}: expected a file, found a pipe or device" if place.exists() else _nowhere(path)


def _nowhere(path: str) -> str:
    if Path(path).is_absolute():
        return f"{path}: no such file{did_you_mean_file(path)}"
    where = f"{path}: no such file in {Path.cwd()}, where the command runs"
    return f"{where}{did_you_mean_file(path)}"


def _first_rows(
    part: FilesData, keys: Keys, split: SplitName, named: dict[Keys, list[Path]]
) -> Iterator[Found]:
    """Faults of the first rows of a split's files, one for each of the first `MOST_FILES`."""
    opened = open_named(part, split)
    assert isinstance(opened, ParallelFileSets | Tables), "it has files"
    paths = [(name, str(path)) for name, files in named.items() for path in files]
    longest_first = sorted(paths, key=lambda item: -len(item[1]))
    try:
        parts: list[Split] = [*opened.parts()][:MOST_FILES]
    except DataError as error:  # unequal numbers of files, or a table of an unknown format
        message = str(error)
        own = next((name for name, path in longest_first if message.startswith(path)), (split,))
        yield (*keys, *own), message
        return
    for one in parts:
        try:
            next(one.chunks(), None)
        except DataError as error:
            message = str(error)
            own = next((name for name, path in longest_first if message.startswith(path)), (split,))
            yield (*keys, *(_column(part, message) or own)), message


def _folder_faults(part: DatasetData, keys: Keys) -> Iterator[Found]:
    """Faults of a data set in a folder, without converting it."""
    if not Path(part.dataset).is_dir():
        yield (*keys, "dataset"), f"{part.dataset}: no such folder{NEEDED}"
        return
    for split in SPLITS:
        name = getattr(part.splits, split)
        if name is None:
            continue
        opened = open_named(part, split)
        assert isinstance(opened, DatasetSplit), "it is one of a data set"
        try:
            check_folder(opened)
        except DataError as error:
            message = str(error)
            own = ("splits", split) if "no split" in message else ("dataset",)
            yield (*keys, *(_column(part, message) or own)), message


def _is_local(part: DatasetData) -> bool:
    return part.dataset.startswith((".", "/", "~")) or Path(part.dataset).is_dir()


def _column(part: FilesData | DatasetData, message: str) -> Keys | None:
    """The keys of the column that a message is about."""
    found = re.search(r"column '([^']*)'", message)
    if found is None:
        return None
    columns = part.columns
    named: list[Keys] = [
        ("columns", item.name)
        for item in fields(columns)
        if getattr(columns, item.name) == found[1]
    ]
    named += [
        ("image_features", number, "column")
        for number, features in enumerate(part.image_features)
        if features.column == found[1]
    ]
    return next(iter(named), None)
