"""Looks at the data that a recipe names: files that are there, columns that exist, text in UTF-8.

Only the first rows are read, and nothing is downloaded: a data set on the hub is not looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from s2s.data.sources.hub import DatasetSplit, check_folder
from s2s.data.sources.open import open_named
from s2s.data.sources.split import SPLITS, SplitName
from s2s.errors import DataError
from s2s.recipe.data import AnyCorpus, DatasetData, FilesData, GeneratedData, SeveralData
from s2s.recipe.recipe import Recipe
from s2s.recipe.yaml import Keys

Found = tuple[Keys, str]
"""A fault: the keys of the recipe that it concerns, and what is wrong."""


def data_faults(recipe: Recipe) -> Iterator[Found]:
    """Faults of the recipe's local data, for each file the first that is met."""
    data = recipe.data
    if isinstance(data, SeveralData):
        for number, part in enumerate(data.corpora):
            splits = SPLITS if part is data.evaluated else ("train",)
            yield from _corpus_faults(part, ("data", "corpora", number), splits)
    else:
        yield from _corpus_faults(data, ("data",), SPLITS)


def unseen(recipe: Recipe) -> list[str]:
    """The data sets of the hub, which are not looked at."""
    data = recipe.data
    parts = data.corpora if isinstance(data, SeveralData) else (data,)
    return [part.dataset for part in parts if isinstance(part, DatasetData) and not _is_local(part)]


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
        named = dict(_paths(part, split))
        lacking = {name: fault for name, path in named.items() if (fault := _missing(path))}
        yield from (((*keys, *name), fault) for name, fault in lacking.items())
        if named and not lacking:
            yield from _first_rows(part, keys, split, named)


def _paths(part: FilesData, split: SplitName) -> Iterator[tuple[Keys, str]]:
    """The files of a split by their keys."""
    files = {"train": part.train, "validation": part.validation, "test": part.test}[split]
    if files is None:
        return
    for name in ("source", "target", "table"):
        if (path := getattr(files, name)) is not None:
            yield (split, name), path
    if files.table is None:
        for number, path in enumerate(files.references or ()):
            yield (split, "references", number), path


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
        return f"{path}: no such file"
    return f"{path}: no such file in {Path.cwd()}, where the command runs"


def _first_rows(
    part: FilesData, keys: Keys, split: SplitName, named: dict[Keys, str]
) -> Iterator[Found]:
    opened = open_named(part, split)
    assert opened is not None, "it has files"
    try:
        next(opened.chunks(), None)
    except DataError as error:
        message = str(error)
        named_first = sorted(named.items(), key=lambda item: -len(item[1]))
        own = next((name for name, path in named_first if message.startswith(path)), (split,))
        yield (*keys, *(_column(part, message) or own)), message


def _folder_faults(part: DatasetData, keys: Keys) -> Iterator[Found]:
    """Faults of a data set in a folder, without converting it."""
    if not Path(part.dataset).is_dir():
        yield (*keys, "dataset"), f"{part.dataset}: no such folder"
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
