"""Tables of sentence pairs: TSV, CSV, JSONL (plain or gzip) and Parquet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from s2s.data.sources.chunks import (
    CHUNK_PAIRS,
    Chunk,
    doubled_column,
    file_fingerprint,
    missing_column,
)
from s2s.data.sources.columns import SplitColumns
from s2s.data.sources.damage import DamagedRows, has_stray_quotes
from s2s.data.sources.json_cells import (
    check_keys,
    json_id,
    json_target,
    json_text,
    json_texts,
    json_words,
    key_marks,
)
from s2s.errors import DataError
from s2s.spaces import is_blank
from s2s.text.lines import LONGEST_ROW, count_lines, decode_rows, no_such_file, open_bytes

LONGEST_CELL = LONGEST_ROW
"""Characters. The default of the csv module, 131,072, would refuse long documents; without a limit,
a quote that is never closed makes one cell of all the rest."""

SEPARATORS = {".csv": "commas", ".tsv": "tabs"}
"""What separates the fields of a format."""


@dataclass(frozen=True)
class RowTable:
    """A file read row by row: TSV (no quoting: every tab separates), CSV (quotes as in RFC 4180) or
    JSONL (one object a line)."""

    path: Path
    columns: SplitColumns
    has_header: bool
    format: str
    """`.tsv`, `.csv` or `.jsonl`."""
    max_damaged: float | None = None
    """The largest share of damaged rows, which are left out; see `DamagedRows`."""

    def check(self) -> None:
        """Look at a table that another program reads: all rows of a CSV, the header of others.

        Raises DataError for what that program would take for another pair, and for missing columns.
        """
        if self.format == ".csv":
            for _ in self.chunks():
                pass
        else:
            damage = DamagedRows(self.path, self.format, None)
            next(iter(self._cells(damage)), None)

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
        """Raises DataError, with file and line, for a row of JSONL that is not a pair of texts, and
        for more damaged rows of other tables than allowed. The last chunk has their number."""
        num_pairs = 0
        damage = DamagedRows(self.path, self.format, self.max_damaged)
        rows = self._cells(damage)
        batch = list(islice(rows, CHUNK_PAIRS))
        while batch:
            num_pairs += len(batch)
            following = list(islice(rows, CHUNK_PAIRS))
            chunk = self._chunk([list(column) for column in zip(*batch, strict=True)])
            yield chunk if following else chunk._replace(faults=damage.report(num_pairs))
            batch = following
        if num_pairs == 0:
            damage.report(num_pairs)
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

    def _cells(self, damage: DamagedRows) -> Iterator[Sequence[Any]]:
        """The cells of each row that are read: parts of the source, target, group, references."""
        if self.format == ".jsonl":
            yield from self._json_cells(damage)
            return
        if self.columns.recipe.references is not None:
            raise DataError(
                f"{self.path}: data.columns.references needs lists of texts, which {self.format} "
                "does not have; expected .jsonl or .parquet, or 'references' beside 'table'"
            )
        rows = self._tsv_rows(damage) if self.format == ".tsv" else self._csv_rows(damage)
        first = next(rows, None)
        if first is None:
            return
        names = first[1] if self.has_header else None
        places = [self._position(name, names) for name in self._wanted]
        damage.width = width = len(first[1])
        damage.has_header = self.has_header
        if names is None:
            if max(places) >= width:
                raise DataError(
                    f"{self.path}:{first[0]}: expected at least {max(places) + 1} fields, "
                    f"found {width}"
                )
            yield [first[1][place] for place in places]
        chosen = _chooser(places)
        for number, cells in rows:
            if len(cells) == width:
                yield chosen(cells)
            else:
                damage.add(number, cells)

    def _tsv_rows(self, damage: DamagedRows) -> Iterator[tuple[int, list[str]]]:
        with open_bytes(self.path) as stream:
            for number, line in enumerate(decode_rows(stream, self.path), start=1):
                if '"' in line:
                    damage.look_for_quotes(number, line)
                yield number, line.split("\t")
                damage.num_lines = number

    def _csv_rows(self, damage: DamagedRows) -> Iterator[tuple[int, list[str]]]:
        """Rows with the numbers of their first lines."""
        csv.field_size_limit(LONGEST_CELL)
        with open_bytes(self.path) as stream:
            quoted: list[str] = []
            reader = csv.reader(
                _with_line_feeds(decode_rows(stream, self.path), quoted), strict=True
            )
            while True:
                number = reader.line_num + 1
                try:
                    for cells in reader:
                        if quoted:
                            # The reader takes a quotation mark inside a field for text.
                            is_stray = '"' in "".join(cells) and has_stray_quotes("\n".join(quoted))
                            quoted.clear()
                            if is_stray:
                                self._add_quotes(damage, number)
                                number = reader.line_num + 1
                                continue
                        yield number, cells
                        number = reader.line_num + 1
                    damage.num_lines = reader.line_num
                    return
                except csv.Error as error:
                    if "expected after" not in str(error):  # the end within a field
                        place = f"{self.path}:{number}"
                        raise DataError(f"{place}: not valid CSV ({error})") from error
                    quoted.clear()
                    self._add_quotes(damage, number, reader.line_num + 1 - number)

    def _add_quotes(self, damage: DamagedRows, number: int, lines: int = 1) -> None:
        """Count a row with wrong quotation marks. Raises DataError for a header."""
        if number == 1 and self.has_header:
            raise DataError(
                f"{self.path}:1: not valid CSV (a header with quotation marks inside a name, or "
                "with other separators than commas)"
            )
        damage.add_quotes(number, lines)

    def _position(self, name: str, names: Sequence[str] | None) -> int:
        """The position of a column, by its name in the header; without header, by its number."""
        if names is not None:
            if names.count(name) > 1:
                raise doubled_column(str(self.path), name)
            if name in names:
                return names.index(name)
            if other := _other_separator(name, names, SEPARATORS[self.format]):
                raise DataError(
                    f"{self.path}:1: expected fields between {SEPARATORS[self.format]}, found "
                    f"{other}; save it with these, or as a .tsv with tabs"
                )
            raise missing_column(str(self.path), name, names)
        if name.isascii() and name.isdigit():
            return int(name)
        raise DataError(
            f"{self.path}: without a header, data.columns are numbers (0, 1, ...), not '{name}'"
        )

    def _json_cells(self, damage: DamagedRows) -> Iterator[Sequence[Any]]:
        columns = self.columns
        marks = key_marks(columns.names)
        chosen = _chooser(self._wanted)
        may_be_texts = columns.recipe.references is None
        with open_bytes(self.path) as stream:
            for number, line in enumerate(decode_rows(stream, self.path), start=1):
                damage.num_lines = number
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    if is_blank(line):
                        damage.add_blank(number)
                        continue
                    raise DataError(f"{self.path}:{number}: not valid JSON ({error})") from error
                for mark in marks:
                    if line.count(mark) > 1:
                        check_keys(line, columns.names, f"{self.path}:{number}")
                        break
                if may_be_texts and "\\u" not in line:  # then there is no half of a character
                    try:
                        cells = chosen(row)
                    except (KeyError, TypeError):  # a path of keys, or a fault
                        cells = ()
                    if {*map(type, cells)} == {str}:
                        yield cells
                        continue
                yield self._checked_cells(row, f"{self.path}:{number}")

    def _checked_cells(self, row: Any, place: str) -> list[Any]:
        """The cells of an object, however they are found. Raises DataError for a missing one."""
        columns = self.columns
        read = json_words if columns.recipe.labels else json_text
        cells: list[Any] = [read(row, name, place) for name in columns.parts]
        cells += [json_id(row, name, place) for name in columns.ids]
        read_target = json_words if columns.recipe.labels else json_target
        cells.append(read_target(row, columns.recipe.target, place))
        if columns.recipe.group is not None:
            cells.append(json_id(row, columns.recipe.group, place))
        cells += [json_text(row, name, place) for name in columns.references]
        if columns.recipe.references is not None:
            cells.append(json_texts(row, columns.recipe.references, place))
        return cells

    @property
    def _wanted(self) -> tuple[str, ...]:
        """The columns that are read: parts of the source, ids, target, group, references."""
        columns = self.columns
        last = (columns.recipe.target, columns.recipe.group, *columns.references)
        return (*columns.parts, *columns.ids, *(name for name in last if name is not None))


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
        except (OSError, pyarrow.ArrowException, UnicodeDecodeError):
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
            raise no_such_file(self.path) from error
        except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: not a readable Parquet file ({error})") from error
        if first_row == 0:
            raise DataError(f"{self.path}: empty file")


def open_table(
    path: Path, columns: SplitColumns, *, has_header: bool, max_damaged: float | None = None
) -> RowTable | ParquetTable:
    """The table, of the format that its name ends with. Raises DataError for an unknown ending."""
    match table_format(path):
        case ".parquet":
            return ParquetTable(path, columns)
        case str() as format_:
            return RowTable(path, columns, has_header, format_, max_damaged)
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


def _other_separator(name: str, names: Sequence[str], own: str) -> str | None:
    """What separates the fields of a header that has no `name`, if something else than `own`."""
    if names and names[0].startswith("sep="):
        return "'sep=', a line for spreadsheets"
    if len(names) != 1:  # a blank line of CSV has no field
        return None
    for separator, others in ((";", "semicolons"), ("\t", "tabs"), (",", "commas"), ("|", "'|'")):
        if others != own and name in (cell.strip('" ') for cell in names[0].split(separator)):
            return others
    return None


def _with_line_feeds(lines: Iterable[str], quoted: list[str]) -> Iterator[str]:
    """The lines with their ends; those with quotation marks are added to `quoted` too."""
    for line in lines:
        if '"' in line:
            quoted.append(line)
        yield line + "\n"


def _chooser(places: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """The items at `places` of a row. `itemgetter` is quicker than a loop, but gives a single item
    as it is: of a language model there is one column."""
    if len(places) == 1:
        (place,) = places
        return lambda row: (row[place],)
    return itemgetter(*places)
