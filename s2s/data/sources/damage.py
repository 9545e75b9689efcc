"""Damaged rows of TSV and CSV tables: they are counted and left out, or too many of them refused.

A row with another number of fields than the others, or with quotation marks where CSV has none,
would make a wrong pair: which of its fields is which cannot be told. Blank lines are no rows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from s2s.errors import DataError
from s2s.spaces import is_blank

NAMED = 3
"""Lines of each kind of damage that messages name."""

STRAY_QUOTES = "quotation marks that do not enclose a field"

_CSV_ROW = re.compile(r'(?:"(?:[^"]++|"")*+"|[^",]*+)(?:,(?:"(?:[^"]++|"")*+"|[^",]*+))*+')
"""RFC 4180, section 2, rules 5 to 7: a field is within quotation marks, or has none."""

_QUOTED = re.compile(r'"(?:[^"]++|"")*+"')
"""A field as spreadsheets write it where it has special characters."""

_REMEDIES = {
    ".csv": 'write a text with commas or quotation marks as "so, ""so""", without spaces around '
    "the outer marks, or save the table as .tsv",
    ".tsv": "a text cannot have tabs; if the program that wrote it puts texts in quotation marks, "
    "save the table as .csv",
}


class TableFaults(NamedTuple):
    """What is wrong with a table that was read."""

    rows: int = 0
    """Rows that are left out."""
    texts: tuple[str, ...] = ()
    """Lines for the user."""

    def __add__(self, other: "TableFaults") -> "TableFaults":  # type: ignore[override]
        """The faults of both."""
        return TableFaults(self.rows + other.rows, self.texts + other.texts)


NO_FAULTS = TableFaults()


@dataclass
class Tally:
    """Lines of one kind: their number, the first of them and the last. Of each it would take the
    memory of the table, and a small file that is compressed may have very many."""

    count: int = 0
    first: tuple[int, ...] = ()
    last: int = -1

    def add(self, line: int, count: int = 1) -> None:
        """So many more, the first of which is `line`."""
        self.count += count
        self.last = line
        if len(self.first) < NAMED:
            self.first += (line,)

    def __add__(self, later: "Tally") -> "Tally":
        """These lines and later ones."""
        last = max(self.last, later.last)
        return Tally(self.count + later.count, (self.first + later.first)[:NAMED], last)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self.count > 0

    def counted(self, what: str) -> str:
        """`2 blank lines (lines 3, 5)`."""
        return f"{self.count:,} {what}{'' if self.count == 1 else 's'} ({self})"

    def __str__(self) -> str:
        """`line 3`, or `lines 3, 5, 8, ...`."""
        more = ", ..." if self.count > len(self.first) else ""
        return f"line{'' if self.count == 1 else 's'} {', '.join(map(str, self.first))}{more}"


class DamagedRows:
    """Counts the damage of a table while it is read."""

    def __init__(self, path: Path, format_: str, allowed: float | None) -> None:
        """`allowed` is `data.max_damaged`; None where a recipe has no such field, and no row may be
        damaged."""
        self.path = path
        self.format = format_
        self.allowed = allowed
        self.width = 0
        """The number of fields that a row should have."""
        self.has_header = False
        self.num_lines = 0
        """The lines of the table so far, blank ones included."""
        self._blank = Tally()
        """Blank lines but for the last of them that lie together."""
        self._last_blank = Tally()
        self.quoted = Tally()
        """Rows of a TSV with fields that a spreadsheet seems to have put in quotation marks."""
        self._kinds: dict[str, Tally] = {}
        """The rows of each kind of damage."""

    def add(self, line: int, cells: list[str]) -> None:
        """A row, or a blank line, with another number of fields than `width`."""
        if len(cells) <= 1 and is_blank("".join(cells)):
            self.add_blank(line)
        else:
            self._count("1 field" if len(cells) == 1 else f"{len(cells)} fields", line)

    def add_blank(self, line: int) -> None:
        """A blank line."""
        if self._last_blank.last != line - 1:
            self._blank += self._last_blank
            self._last_blank = Tally()
        self._last_blank.add(line)

    def add_quotes(self, line: int, rows: int = 1) -> None:
        """Rows from `line` on whose quotation marks are not those of CSV."""
        self._count(STRAY_QUOTES, line, rows)

    def look_for_quotes(self, line: int, text: str) -> None:
        """Look at a row of a TSV that has quotation marks, which are text there."""
        if '""' in text and any(
            '""' in cell[1:-1] and _QUOTED.fullmatch(cell) for cell in text.split("\t")
        ):
            self.quoted.add(line)

    def report(self, num_read: int) -> TableFaults:
        """The faults of the whole table, of which `num_read` rows were sound.

        Raises DataError if more rows are damaged than allowed.
        """
        num_damaged = sum(one.count for one in self._kinds.values())
        if num_damaged > (self.allowed or 0.0) * (num_read + num_damaged):
            raise DataError(self._refusal(num_damaged, num_read + num_damaged))
        return TableFaults(num_damaged, tuple(self._lines(num_damaged, num_read)))

    def _lines(self, num_damaged: int, num_read: int) -> Iterator[str]:
        if num_damaged:
            share = f"{num_damaged:,} of {num_read + num_damaged:,} rows damaged and left out"
            yield f"{self.path}: {share}: {self._damage()}"
        if inside := self._blank_inside():
            yield f"{self.path}: {inside.counted('blank line')} inside the table left out"
        if self.quoted:
            yield (
                f"{self.path}: {self.quoted.counted('row')} with fields in quotation marks, "
                "which are text in a TSV; save it as .csv if they are not meant"
            )

    def _refusal(self, num_damaged: int, num_rows: int) -> str:
        remedy = _REMEDIES[self.format]
        if self.allowed is None:
            return (
                f"{self.path}: {num_damaged:,} of {num_rows:,} rows damaged: {self._damage()}; "
                f"{remedy}"
            )
        return (
            f"{self.path}: {num_damaged:,} of {num_rows:,} rows damaged, more than "
            f"data.max_damaged {self.allowed:g} allows: {self._damage()}; {remedy}"
        )

    def _damage(self) -> str:
        """All kinds of damage, the most frequent first."""
        kinds = sorted(self._kinds.items(), key=lambda item: -item[1].count)
        expected = f" where {'the header' if self.has_header else 'line 1'} has {self.width}"
        shown = [
            f"{rows.count:,} with {kind}{'' if kind == STRAY_QUOTES else expected} ({rows})"
            for kind, rows in kinds[:NAMED]
        ]
        rest = sum(rows.count for _, rows in kinds[NAMED:])
        return ", ".join([*shown, *([f"{rest:,} more"] if rest else [])])

    def _blank_inside(self) -> "Tally":
        """The blank lines before a row; those at the end are no fault."""
        is_end = self._last_blank.last == self.num_lines
        return self._blank if is_end else self._blank + self._last_blank

    def _count(self, kind: str, line: int, rows: int = 1) -> None:
        self._kinds.setdefault(kind, Tally()).add(line, rows)


def has_stray_quotes(row: str) -> bool:
    """Whether the quotation marks of a row of CSV, without those of its lines that have none, are
    not as RFC 4180 has them."""
    return _CSV_ROW.fullmatch(row) is None
