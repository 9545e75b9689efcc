"""The record of the input in the note beside an unfinished output: hashes of the lines read.

Before the outputs of some lines are written, the note gets a row: the number of lines that were
read, and a hash of them. When the command is resumed, the input has to begin with the same lines.
"""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from s2s.errors import UsageError
from s2s.files import parse_json
from s2s.text.lines import name_of_stream

SECONDS = 1.0
"""Least time between two rows, except for the last: windows may be as short as a line."""


class Row(NamedTuple):
    """The first lines of an input."""

    lines: int
    digest: str


class HashedInput:
    """An input of lines that knows a hash of those that were read."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.lines = 0
        self._hash = hashlib.sha256()

    @property
    def name(self) -> str:
        """The name of the input in messages."""
        return name_of_stream(self.source)

    def readline(self, limit: int = -1, /) -> bytes:
        """The next line, or so many bytes of a longer one; empty at the end."""
        raw = self.source.readline(limit)
        if raw:
            self.lines += 1
            self._hash.update(raw if raw.endswith(b"\n") else raw + b"\n")
        return raw

    @property
    def row(self) -> Row:
        """The lines that were read so far."""
        return Row(self.lines, self._hash.hexdigest()[:32])

    def isatty(self) -> bool:
        """Whether lines are typed."""
        return self.source.isatty()

    def fileno(self) -> int:
        """The descriptor of the input."""
        return self.source.fileno()

    def tell(self) -> int:
        """The place in the input, in bytes."""
        return self.source.tell()


class InputRecord:
    """Appends rows to a note that exists; where that fails, a resumed command repeats more."""

    def __init__(self, note: Path, source: HashedInput) -> None:
        self.note, self.source = note, source
        self._waiting: Row | None = None
        self._written = -math.inf

    def add(self) -> None:
        """The outputs of all lines that were read are about to be written."""
        self._waiting = self.source.row
        if time.monotonic() - self._written >= SECONDS:
            self.close()

    def close(self) -> None:
        """Write the last row."""
        if self._waiting is None:
            return
        with suppress(OSError), self.note.open("r+b") as file:
            file.seek(0, 2)
            file.write(json.dumps(self._waiting).encode() + b"\n")
        self._waiting, self._written = None, time.monotonic()


def read_rows(lines: Sequence[bytes]) -> list[Row]:
    """The rows of a note; the last may be incomplete."""
    found = []
    for line in lines:
        with suppress(ValueError, TypeError):
            number, digest = parse_json(line)
            if isinstance(number, int) and number >= 0:
                found.append(Row(number, str(digest)))
    return found


def last_row(rows: Sequence[Row], lines: int) -> Row:
    """The row for the most lines, but at most `lines`."""
    return max((row for row in rows if row.lines <= lines), default=Row(0, ""))


def check_input(source: HashedInput, row: Row, path: Path) -> None:
    """Raises UsageError if the lines that were read are not those of the row."""
    if row.lines and source.row != row:
        raise UsageError(
            f"{path}: begun with another input (its first {row.lines:,} lines differ); resume with "
            "the input it was begun with, or leave --resume out to start over"
        )
