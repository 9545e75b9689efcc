"""Tables of sentence pairs: TSV, CSV, JSONL (plain or gzip) and Parquet."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from s2s.data.sources.chunks import CHUNK_PAIRS, Chunk, file_fingerprint, missing_column
from s2s.data.sources.columns import SplitColumns
from s2s.errors import DataError
from s2s.text.lines import LONGEST_ROW, count_lines, decode_rows, open_bytes

LONGEST_CELL = LONGEST_ROW
"""Characters. The default of the csv module, 131,072, would refuse long documents; without a limit,
a quote that is never closed makes one cell of all the rest."""


@dataclass(frozen=True)
class RowTable:
    """A file read row by row: TSV (no quoting: every tab separates), CSV (quotes as in RFC 4180) or
    JSONL (one object a line)."""

    path: Path
    columns: SplitColumns
    has_header: bool
    format: str
    """`.tsv`, `.csv` or `.jsonl`."""

    def fingerprint(self) -> dict[str, Any]:
        """The file, and how it is read."""
        return {
            "table": file_fingerprint(self.path, self.format),
            **self.columns.fingerprint(),
            "header": self.has_header,
        }

    def expected(self) -> int:
        """The lines below the header, each of which is a pair unless a cell has several lines or
        several targets."""
        return count_lines(self.path) - (self.has_header and self.format != ".jsonl")

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError, with file and line, for a row that is not a pair of texts."""
        num_pairs = 0
        rows = self._cells()
        while batch := list(islice(rows, CHUNK_PAIRS)):
            num_pairs += len(batch)
            yield self._chunk([list(column) for column in zip(*batch, strict=True)])
        if num_pairs == 0:
            raise DataError(f"{self.path}: empty file")

    def _chunk(self, cells: list[list[Any]]) -> Chunk:
        """The pairs of the columns that `_cells` yields."""
        columns = self.columns
        num_parts = len(columns.parts) + len(columns.ids)
        parts, targets, rest = cells[:num_parts], cells[num_parts], cells[num_parts + 1 :]
        groups = None if columns.recipe.group is None else rest.pop(0)
        if columns.recipe.references is not None:
            return columns.chunk(parts, targets, rest[0], groups)
        singles = [list(options) for options in zip(*rest, strict=True)] if rest else None
        return columns.chunk(parts, targets, singles, groups)

    def _cells(self) -> Iterator[list[Any]]:
        """The cells of each row that are read: parts of the source, target, group, references."""
        if self.format == ".jsonl":
            yield from self._json_cells()
            return
        if self.columns.recipe.references is not None:
            raise DataError(
                f"{self.path}: data.columns.references needs lists of texts, which {self.format} "
                "does not have; expected .jsonl or .parquet, or 'references' beside 'table'"
            )
        rows = self._tsv_rows() if self.format == ".tsv" else self._csv_rows()
        names = None
        if self.has_header:
            header = next(rows, None)
            if header is None:
                return
            names = header[1]
        columns = self.columns
        last = (columns.recipe.target, columns.recipe.group, *columns.references)
        wanted = (*columns.parts, *columns.ids, *(name for name in last if name is not None))
        places = [self._position(name, names) for name in wanted]
        for number, cells in rows:
            try:
                yield [cells[place] for place in places]
            except IndexError:
                raise DataError(
                    f"{self.path}:{number}: expected at least {max(places) + 1} fields, "
                    f"found {len(cells)}"
                ) from None

    def _tsv_rows(self) -> Iterator[tuple[int, list[str]]]:
        with open_bytes(self.path) as stream:
            for number, line in enumerate(decode_rows(stream, self.path), start=1):
                yield number, line.split("\t")

    def _csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(LONGEST_CELL)
        with open_bytes(self.path) as stream:
            lines = (line + "\n" for line in decode_rows(stream, self.path))
            reader = csv.reader(lines, strict=True)
            try:
                for cells in reader:
                    yield reader.line_num, cells
            except csv.Error as error:
                place = f"{self.path}:{reader.line_num}"
                raise DataError(f"{place}: not valid CSV ({error})") from error

    def _position(self, name: str, names: Sequence[str] | None) -> int:
        """The position of a column, by its name in the header; without header, by its number."""
        if names is not None:
            if name in names:
                return names.index(name)
            raise missing_column(str(self.path), name, names)
        if name.isascii() and name.isdigit():
            return int(name)
        raise DataError(
            f"{self.path}: without a header, data.columns are numbers (0, 1, ...), not '{name}'"
        )

    def _json_cells(self) -> Iterator[list[Any]]:
        with open_bytes(self.path) as stream:
            for number, line in enumerate(decode_rows(stream, self.path), start=1):
                place = f"{self.path}:{number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{place}: not valid JSON ({error})") from error
                columns = self.columns
                cells: list[Any] = [_json_text(row, name, place) for name in columns.parts]
                cells += [_json_id(row, name, place) for name in columns.ids]
                cells.append(_json_target(row, columns.recipe.target, place))
                if columns.recipe.group is not None:
                    cells.append(_json_id(row, columns.recipe.group, place))
                cells += [_json_text(row, name, place) for name in columns.references]
                if columns.recipe.references is not None:
                    cells.append(_json_texts(row, columns.recipe.references, place))
                yield cells


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file."""

    path: Path
    columns: SplitColumns

    def fingerprint(self) -> dict[str, Any]:
        """The file, and how it is read."""
        return {"table": file_fingerprint(self.path, ".parquet"), **self.columns.fingerprint()}

    def expected(self) -> int | None:
        """The rows, each of which is a pair unless its target is a list; None for a file that
        cannot be read, which `chunks` reports."""
        import pyarrow
        import pyarrow.parquet

        try:
            rows: int = pyarrow.parquet.read_metadata(self.path).num_rows
        except (OSError, pyarrow.ArrowException):
            return None
        return rows

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError for a column that is missing or does not hold text."""
        import pyarrow
        import pyarrow.parquet

        from s2s.data.sources.arrow_text import check_columns, pairs

        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                check_columns(file.schema_arrow, self.columns, str(self.path))
                first_row = 0
                wanted = self.columns.names
                roots = sorted({name.partition(".")[0] for name in wanted} | set(wanted))
                known = [name for name in roots if name in file.schema_arrow.names]
                for batch in file.iter_batches(CHUNK_PAIRS, columns=known):
                    yield pairs(batch, self.columns, (str(self.path), first_row))
                    first_row += batch.num_rows
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: no such file") from error
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{self.path}: not a readable Parquet file ({error})") from error
        if first_row == 0:
            raise DataError(f"{self.path}: empty file")


def open_table(path: Path, columns: SplitColumns, *, has_header: bool) -> RowTable | ParquetTable:
    """The table, of the format that its name ends with. Raises DataError for an unknown ending."""
    match table_format(path):
        case ".parquet":
            return ParquetTable(path, columns)
        case str() as format_:
            return RowTable(path, columns, has_header, format_)
    raise DataError(
        f"{path}: expected a table named .tsv, .csv, .jsonl (each also .gz) or .parquet"
    )


def table_format(path: Path) -> str | None:
    """The format that a table's name ends with, without .gz; None for any other file."""
    match [suffix.lower() for suffix in path.suffixes]:
        case [*_, ".parquet"]:
            return ".parquet"
        case [*_, (".tsv" | ".csv" | ".jsonl") as format_, ".gz"]:
            return format_
        case [*_, (".tsv" | ".csv" | ".jsonl") as format_]:
            return format_
    return None


def _json_text(row: Any, name: str, place: str) -> str:
    """The text under `name`, a key or a path of keys. Raises DataError if there is none."""
    return _checked(_json_value(row, name, place), name, place)


def _json_texts(row: Any, name: str, place: str) -> list[str]:
    """The texts under `name`, one or more. Raises DataError if there are none."""
    values = _json_value(row, name, place)
    if not isinstance(values, list) or not values:
        found = "an empty list" if values == [] else _kind(values)
        raise DataError(f"{place}: column '{name}' holds {found}, expected a list of texts")
    return [_checked(value, name, place) for value in values]


def _json_target(row: Any, name: str, place: str) -> str | list[str]:
    """The text under `name`, or the texts. Raises DataError if there are none."""
    value = _json_value(row, name, place)
    return (
        _json_texts(row, name, place) if isinstance(value, list) else _json_text(row, name, place)
    )


def _json_id(row: Any, name: str, place: str) -> str:
    """The id under `name`, a text or a whole number. Raises DataError if there is none."""
    value = _json_value(row, name, place)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else _checked(value, name, place)


def _json_value(row: Any, name: str, place: str) -> Any:
    """The value under a key or a path of keys. Raises DataError if there is none."""
    value = row
    if not (isinstance(row, dict) and name in row):
        for key in name.split("."):
            if not isinstance(value, dict):
                raise DataError(f"{place}: expected an object with '{key}', found {_kind(value)}")
            if key not in value:
                raise missing_column(place, name, list(value))
            value = value[key]
    else:
        value = row[name]
    return value


def _checked(value: Any, name: str, place: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: column '{name}' holds {_kind(value)}, expected text")
    if not value.isascii():
        _check_encodable(value, name, place)
    return value


def _check_encodable(text: str, name: str, place: str) -> None:
    """Raises DataError for half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise DataError(f"{place}: column '{name}' holds {half}, half a character") from error


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value", str: "text"}
    return "null" if value is None else names.get(type(value), "a number")
