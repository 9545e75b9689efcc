"""Finds out what data files hold: which splits there are, and which columns are source and target.

Only the first rows are read. What a user would have to be asked otherwise is decided by what the
columns look like: numbers, links and licences are no text; `V;PST` are morphological tags; a first
row is a header if its cells are names, unlike the cells below.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from s2s.data.sources.chunks import found_list
from s2s.data.sources.header import HEADER_WORDS, SOURCES, TARGETS, check_names, is_header
from s2s.errors import DataError
from s2s.text.lines import LONGEST_ROW, decode_rows, open_bytes

ROWS = 500
"""Rows of a table that are looked at."""

TABLES = (".tsv", ".csv", ".jsonl", ".parquet")

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "eval"),
}
"""Words in names of files and splits, by the role of the split."""

_TAGS = re.compile(r"^[A-Z0-9]+([;|,(][A-Z0-9().,/+*-]*)+\)?$|^[A-Z]{1,8}$")
_IMAGE = re.compile(r"^\S+\.(jpe?g|png|gif|webp|bmp|tiff?)$", re.IGNORECASE)
_NO_TEXT = re.compile(r"^[\W\d_]*$|^https?://|^CC[ -]BY", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column of a table and what its first cells look like."""

    name: str
    is_text: bool
    """Whether most cells have letters and are no links, licences or numbers."""
    is_tags: bool
    """Whether most cells are morphological tags."""
    is_image: bool
    """Whether most cells are names of image files."""
    variety: float
    """Different cells as a share of all."""


@dataclass(frozen=True)
class FoundData:
    """Data for a recipe."""

    section: dict[str, Any]
    """The recipe's `data`, without `hold_out`."""
    splits: tuple[str, ...]
    """The splits that there are."""
    notes: dict[str, str] = field(default_factory=dict)
    """Reasons by key of the section, for comments."""


def inspect(paths: Sequence[str], columns: Sequence[str] = ()) -> FoundData:
    """The data in these files: two parallel texts, more of them by split, one table or several by
    split, or the name of a data set or its folder.

    `columns` are the source's and the target's, where a user names them. Raises DataError for what
    is no data, with what was expected.
    """
    if len(paths) == 1 and _is_dataset(paths[0]):
        return _dataset(paths[0], columns)
    files = [Path(path) for path in paths]
    for file in files:
        _check_text(file)
    tables = [file for file in files if _table_format(file)]
    if tables and len(tables) < len(files):
        raise DataError(
            f"{tables[0]} is a table, {next(f for f in files if f not in tables)} is not: expected "
            "tables alone, or parallel texts alone"
        )
    return _tables(files, columns) if tables else _texts(files)


def split_of(name: str) -> str | None:
    """The split that a name speaks of; None if it names none."""
    parts = re.split(r"[^a-z]+", name.lower())
    for split, words in SPLIT_WORDS.items():
        if any(word in parts for word in words):
            return split
    return None


# ------------------------------------------------------------------------------- parallel texts


def _texts(files: list[Path]) -> FoundData:
    if len(files) % 2:
        if len(files) == 1:
            raise DataError(
                f"{files[0]}: expected two parallel texts, a table named "
                f"{', '.join(TABLES)} (also .gz), or the name of a data set; found one text"
            )
        raise DataError(f"expected pairs of parallel texts, found {len(files)} files")
    if len(files) == 2:
        pairs = {"train": (files[0], files[1]), **_siblings(files[0], files[1])}
    else:
        pairs = _by_split(files)
    section: dict[str, Any] = {"kind": "files"}
    for split, (source, target) in pairs.items():
        section[split] = {"source": str(source), "target": str(target)}
    notes = {}
    found = [split for split in pairs if split != "train"]
    if len(files) == 2 and found:
        notes[found[0]] = "found beside the training files"
    return FoundData(section, tuple(pairs), notes)


def _siblings(source: Path, target: Path) -> dict[str, tuple[Path, Path]]:
    """Validation and test files beside `train.de` and `train.en`."""
    if split_of(source.name) != "train" or split_of(target.name) != "train":
        return {}
    found = {}
    for split in ("validation", "test"):
        for word in SPLIT_WORDS[split]:
            pair = [_renamed(path, word) for path in (source, target)]
            if all(path.is_file() for path in pair):
                found[split] = (pair[0], pair[1])
                break
    return found


def _renamed(path: Path, word: str) -> Path:
    return path.with_name(re.sub(r"train(ing)?", word, path.name, count=1, flags=re.IGNORECASE))


def _by_split(files: list[Path]) -> dict[str, tuple[Path, Path]]:
    """Pairs of files by the split in their names, in the order of the command."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(split_of(file.name) or "train", []).append(file)
    for split, pair in found.items():
        if len(pair) != 2:
            names = ", ".join(map(str, pair))
            raise DataError(f"expected a source and a target for {split}, found {names}")
    if "train" not in found:
        raise DataError(f"none of the files is for training; found {', '.join(found)}")
    return {split: (found[split][0], found[split][1]) for split in SPLIT_WORDS if split in found}


def _check_text(path: Path) -> None:
    """Raises DataError for an empty or missing file, and for one that is not UTF-8 text."""
    with open_bytes(path) as stream:
        head = stream.read(4096)
    if not head:
        raise DataError(f"{path}: empty file")
    if path.suffix.lower() == ".parquet":
        return
    if b"\0" in head:
        raise DataError(f"{path}: expected text in UTF-8, found binary data")
    with open_bytes(path) as stream:
        for _ in islice(decode_rows(stream, path), ROWS):
            pass


# --------------------------------------------------------------------------------------- tables


def _tables(files: list[Path], named: Sequence[str]) -> FoundData:
    """Tables of the same columns, one for each split."""
    found: dict[str, Path] = {}
    for file in files:
        split = split_of(file.name) if len(files) > 1 else None
        if (split or "train") in found:
            raise DataError(f"{file}: {found[split or 'train']} is for {split or 'train'} already")
        found[split or "train"] = file
    if "train" not in found:
        raise DataError(f"none of the tables is for training; found {', '.join(found)}")
    has_header, rows = read_rows(found["train"])
    columns, notes = _columns(found["train"], rows, named)
    section: dict[str, Any] = {"kind": "files"}
    for split in (name for name in SPLIT_WORDS if name in found):
        section[split] = {"table": str(found[split])}
    section["columns"] = columns
    if not has_header:
        section["header"] = False
        notes["header"] = "the first line is a pair, not names of columns"
    elif not any(name.strip().lower() in HEADER_WORDS for name in rows):
        first = f"the first line, '{', '.join(rows)}', looks like names; if it is a pair, number "
        notes["columns"] = first + "the columns ('0', '1') and say `header: false`"
    return FoundData(section, tuple(found), notes)


def read_rows(path: Path) -> tuple[bool, dict[str, list[Any]]]:
    """Whether a table has a header (always, but for TSV and CSV), and the first cells of each
    column by its name, or by its number without a header."""
    match _table_format(path):
        case ".parquet":
            return True, _parquet_columns(path)
        case ".jsonl":
            return True, _json_columns(path)
        case format_:
            rows = list(islice(_split_rows(path, str(format_)), ROWS))
    # Damaged rows, which preparation counts, have another number of fields; blank lines have none.
    rows = [row for row in rows if any(row)]
    if not rows:
        raise DataError(f"{path}: expected rows, found blank lines alone")
    width = Counter(map(len, rows)).most_common(1)[0][0]
    check_names(path, rows[0])
    rows = [row for row in rows if len(row) == width]
    has_header = is_header(rows)
    names = rows[0] if has_header else [str(place) for place in range(width)]
    body = rows[1:] if has_header else rows
    return has_header, {name: [row[i] for row in body] for i, name in enumerate(names)}


def _split_rows(path: Path, format_: str) -> Iterator[list[str]]:
    with open_bytes(path) as stream:
        lines = decode_rows(stream, path)
        if format_ == ".tsv":
            yield from (line.split("\t") for line in lines)
        else:
            for number, row in enumerate(_csv_rows(path, lines)):
                if number == 0 and len(row) == 1 and ";" in row[0]:
                    raise DataError(
                        f"{path}: fields are separated by ';', expected commas; save it with "
                        "commas, or as .tsv with tabs"
                    )
                yield row


def _csv_rows(path: Path, lines: Iterable[str]) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_ROW)
    reader = csv.reader(line + "\n" for line in lines)
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _json_columns(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with open_bytes(path) as stream:
        for number, line in enumerate(islice(decode_rows(stream, path), ROWS), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number}: not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f'{path}:{number}: expected an object, such as {{"source": ...}}')
            for name, value in row.items():
                found.setdefault(name, []).append(value)
    return found


def _parquet_columns(path: Path) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            batch = next(file.iter_batches(ROWS), None)
        if batch is None:
            raise DataError(f"{path}: empty file")
        columns = zip(batch.schema.names, batch.columns, strict=True)
        return {name: column.to_pylist() for name, column in columns}
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


def _columns(
    path: Path, cells: dict[str, list[Any]], named: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The recipe's `columns`, and reasons."""
    if named:
        return dict(zip(("source", "target"), named, strict=True)), {}
    columns = [_column(name, values) for name, values in cells.items()]
    texts = [column for column in columns if column.is_text and not column.is_tags]
    if len(texts) < 2:
        named = ", ".join(repr(str(column.name)) for column in columns)
        images = [column.name for column in columns if column.is_image]
        remedy = "--columns SOURCE,TARGET names them"
        if images:
            remedy = f"'{images[0]}' names images, whose captions docs/captions.md describes"
        raise DataError(
            f"{path}: expected two columns of text, a source and a target, found {len(texts)} "
            f"among {named}; {remedy}"
        )
    source, target = _source_and_target(texts)
    chosen = {"source": source.name, "target": target.name}
    tags = [column for column in columns if column.is_tags]
    notes = {"columns": ""}
    if tags:
        chosen["source_features"] = tags[0].name
        notes["columns"] = f"'{tags[0].name}' holds tags, which the encoder reads after the source"
    others = [c.name for c in columns if c.name not in chosen.values()]
    if others and not tags:
        notes["columns"] = f"other columns: {', '.join(others[:8])}"
    return chosen, notes


def _source_and_target(texts: list[Column]) -> tuple[Column, Column]:
    """By their names if these say it, else the first two with variety."""
    names = {column.name.lower(): column for column in texts}
    source = next((names[name] for name in SOURCES if name in names), None)
    target = next((names[name] for name in TARGETS if name in names), None)
    varied = [column for column in texts if column.variety > 0.05] or texts
    rest = [column for column in varied if column not in (source, target)]
    if source is None:
        source = rest.pop(0) if rest else next(c for c in texts if c is not target)
    if target is None:
        target = rest.pop(0) if rest else next(c for c in texts if c is not source)
    return source, target


def _column(name: str, values: list[Any]) -> Column:
    texts = [_first_text(value) for value in values]
    known = [text for text in texts if text]
    if len(known) < max(1, len(values) // 2):
        return Column(name, False, False, False, 0.0)
    words = sum(not _NO_TEXT.match(text) for text in known)
    is_image = sum(bool(_IMAGE.search(text)) for text in known) > len(known) / 2
    tags = sum(bool(_TAGS.match(text)) and text.upper() == text for text in known)
    is_tags = tags > 0.8 * len(known) and any(";" in text or "|" in text for text in known)
    is_text = words > len(known) / 2 and not is_image
    return Column(name, is_text, is_tags, is_image, len(set(known)) / len(known))


def _first_text(value: Any) -> str:
    """A cell's text, or the first of a list of texts; empty for anything else."""
    if isinstance(value, list) and value:
        value = value[0]
    return value.strip() if isinstance(value, str) else ""


def _table_format(path: Path) -> str | None:
    """The ending of a table's name, without .gz; None for other files."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes and suffixes[-1] in TABLES else None


# ------------------------------------------------------------------------------------- data sets


def _is_dataset(name: str) -> bool:
    """Whether a name is a folder or a hub's `owner/name`, not a file."""
    path = Path(name)
    if path.is_file():
        return False
    is_hub_name = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not _table_format(path)
    return path.is_dir() or bool(is_hub_name)


def _dataset(name: str, named: Sequence[str]) -> FoundData:
    """The splits and columns of a data set, read through `datasets`."""
    from s2s.data.sources.hub import first_rows

    path = name if "/" in name else str(Path(f"./{name}").resolve() if name == "." else f"./{name}")
    rows = first_rows(path, ROWS)
    roles: dict[str, str] = {}
    for split in rows.splits:
        role = split_of(split)
        if role is not None:
            roles.setdefault(role, split)
    if "train" not in roles:
        raise DataError(f"{name}: no split for training; {found_list(rows.splits)}")
    columns, notes = _columns(Path(name), rows.columns, named)
    section: dict[str, Any] = {"kind": "dataset", "dataset": path, "columns": columns}
    section["splits"] = {role: roles.get(role) for role in SPLIT_WORDS}
    return FoundData(section, tuple(roles), notes)
