"""Damaged rows of TSV and CSV tables: they are counted and left out, or too many of them refused.

A row with another number of fields than the others, or with quotation marks where CSV has none,
would make a wrong pair: which of its fields is which cannot be told. Blank lines are no rows.
"""

import re
from collections.abc import Iterator
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
        self.blank: list[int] = []
        """Blank lines."""
        self.quoted: list[int] = []
        """Rows of a TSV with fields that a spreadsheet seems to have put in quotation marks."""
        self._kinds: dict[str, tuple[int, list[int]]] = {}
        """The number of rows of each kind of damage, and the first lines."""

    def add(self, line: int, cells: list[str]) -> None:
        """A row, or a blank line, with another number of fields than `width`."""
        if len(cells) <= 1 and is_blank("".join(cells)):
            self.blank.append(line)
        else:
            self._count("1 field" if len(cells) == 1 else f"{len(cells)} fields", line)

    def add_quotes(self, line: int, rows: int = 1) -> None:
        """Rows from `line` on whose quotation marks are not those of CSV."""
        self._count(STRAY_QUOTES, line, rows)

    def look_for_quotes(self, line: int, text: str) -> None:
        """Look at a row of a TSV that has quotation marks, which are text there."""
        if '""' in text and any(
            '""' in cell[1:-1] and _QUOTED.fullmatch(cell) for cell in text.split("\t")
        ):
            self.quoted.append(line)

    def report(self, num_read: int) -> TableFaults:
        """The faults of the whole table, of which `num_read` rows were sound.

        Raises DataError if more rows are damaged than allowed.
        """
        num_damaged = sum(count for count, _ in self._kinds.values())
        if num_damaged > (self.allowed or 0.0) * (num_read + num_damaged):
            raise DataError(self._refusal(num_damaged, num_read + num_damaged))
        return TableFaults(num_damaged, tuple(self._lines(num_damaged, num_read)))

    def _lines(self, num_damaged: int, num_read: int) -> Iterator[str]:
        if num_damaged:
            share = f"{num_damaged:,} of {num_read + num_damaged:,} rows damaged and left out"
            yield f"{self.path}: {share}: {self._damage()}"
        if inside := self._blank_inside():
            yield f"{self.path}: {_counted(inside, 'blank line')} inside the table left out"
        if self.quoted:
            yield (
                f"{self.path}: {_counted(self.quoted, 'row')} with fields in quotation marks, "
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
        kinds = sorted(self._kinds.items(), key=lambda item: -item[1][0])
        expected = f" where {'the header' if self.has_header else 'line 1'} has {self.width}"
        shown = [
            f"{count:,} with {kind}{'' if kind == STRAY_QUOTES else expected} "
            f"({_listed(lines, count)})"
            for kind, (count, lines) in kinds[:NAMED]
        ]
        rest = sum(count for _, (count, _) in kinds[NAMED:])
        return ", ".join([*shown, *([f"{rest:,} more"] if rest else [])])

    def _blank_inside(self) -> list[int]:
        """The blank lines before a row; those at the end are no fault."""
        last = self.num_lines
        end = len(self.blank)
        while end and self.blank[end - 1] == last:
            end, last = end - 1, last - 1
        return self.blank[:end]

    def _count(self, kind: str, line: int, rows: int = 1) -> None:
        count, lines = self._kinds.get(kind, (0, []))
        self._kinds[kind] = (count + rows, lines if len(lines) == NAMED else [*lines, line])


def has_stray_quotes(row: str) -> bool:
    """Whether the quotation marks of a row of CSV, without those of its lines that have none, are
    not as RFC 4180 has them."""
    return _CSV_ROW.fullmatch(row) is None


def _counted(lines: list[int], what: str) -> str:
    plural = "" if len(lines) == 1 else "s"
    return f"{len(lines):,} {what}{plural} ({_listed(lines[:NAMED], len(lines))})"


def _listed(lines: list[int], count: int) -> str:
    """`line 3`, or `lines 3, 5, 8, ...`."""
    more = ", ..." if count > len(lines) else ""
    return f"line{'' if count == 1 else 's'} {', '.join(map(str, lines))}{more}"
