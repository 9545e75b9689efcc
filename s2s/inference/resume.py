"""Resuming an output file with the command that began it, wherever the first run ended.

Beside an unfinished FILE is FILE.resume, a note of what it was begun with (model, search,
format). It is written before the first line and deleted after the last. Resuming with anything
else would mix two outputs in one file, so it is refused.
"""

import io
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from s2s.errors import DataError, UsageError
from s2s.files import atomic_write
from s2s.inference.nbest import ListFormat

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CHUNK = 1 << 20
"""Bytes read at a time from the beginning of a file."""

BACKWARDS = 1 << 16
"""Bytes read at a time from the end of a file."""

FORMAT = 1


class OutputFile(io.FileIO):
    """A file to which every write is done as a whole, or not at all.

    Its previous content stays until `keep`.
    """

    def __init__(self, path: Path) -> None:
        """Raises DataError if it cannot be written."""
        try:
            super().__init__(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "rb+")
        except OSError as error:
            raise DataError(f"{path}: cannot write it: {error.strerror}") from None
        self.is_regular = stat.S_ISREG(os.fstat(self.fileno()).st_mode)

    def keep(self, size: int) -> None:
        """Keep the first `size` bytes and write after them; a pipe or a device keeps nothing."""
        if self.is_regular:
            self.truncate(size)
            self.seek(size)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of `data`."""
        left = memoryview(data)
        before = self.tell() if self.is_regular else 0
        try:
            while left:
                left = left[super().write(left) :]
        except BaseException:
            self.keep(before)
            raise
        return memoryview(data).nbytes


@dataclass(frozen=True)
class Done:
    """The complete part of an output file."""

    lines: int
    """Lines of the input whose output is complete."""
    size: int
    """Size of that output in bytes."""


def count_lines(file: BinaryIO) -> Done:
    """The complete lines of a file, read from its beginning."""
    file.seek(0)
    lines = end = place = 0
    while chunk := file.read(CHUNK):
        lines += chunk.count(b"\n")
        last = chunk.rfind(b"\n")
        end = place + last + 1 if last >= 0 else end
        place += len(chunk)
    return Done(lines, end)


def count_listed(file: BinaryIO, form: ListFormat, name: str) -> Done:
    """The lines whose rows of scored outputs are complete.

    Rows of the last line do not count, as more may be missing. Raises DataError for a file that
    does not have such rows.
    """
    end = count_lines(file).size
    number = start = None
    while end > 0:
        start = _line_start(file, end)
        file.seek(start)
        found = _line_number(file.read(end - start), form, name)
        if number is not None and found != number:
            if found != number - 1:
                raise DataError(f"{name}: a row of line {found} comes before one of line {number}")
            return Done(found, end)
        number, end = found, start
    return Done(0, 0)


def _line_start(file: BinaryIO, end: int) -> int:
    """The start of the line whose last byte, a line end, precedes `end`."""
    stop = end - 1
    while stop > 0:
        start = max(0, stop - BACKWARDS)
        file.seek(start)
        found = file.read(stop - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0


def _line_number(row: bytes, form: ListFormat, name: str) -> int:
    try:
        return int(json.loads(row)["line"] if form == "jsonl" else row.split(b"\t")[0])
    except (ValueError, KeyError, TypeError):
        shown = row[:40].decode(errors="replace").rstrip("\n")
        raise DataError(
            f"{name}: expected scored outputs ({form}) to resume, found the row {shown!r}"
        ) from None


def skip(source: BinaryIO, lines: int, name: str) -> None:
    """Skip so many lines of the input; raises DataError if it has fewer."""
    for number in range(lines):
        if not source.readline():
            raise DataError(
                f"{name}: it has the output of {lines:,} lines, but the input has {number:,}; "
                "is it another input?"
            )


# ---------------------------------------------------------- the note of what it was begun with


def note_path(path: Path) -> Path:
    """The file with the note about `path`."""
    return path.with_name(f"{path.name}.resume")


def write_note(path: Path, begun_with: Mapping[str, Any]) -> None:
    """Note what `path` is begun with. A folder that takes no file gets no note."""
    content = {"format": FORMAT, **begun_with}
    with suppress(OSError):
        atomic_write(note_path(path), json.dumps(content, indent=1) + "\n")


def remove_note(path: Path) -> None:
    """Delete the note: the output is complete."""
    with suppress(OSError):
        note_path(path).unlink(missing_ok=True)


def check_note(path: Path, resumed_with: Mapping[str, Any]) -> bool:
    """Whether a note says that `path` was begun with the same; False if there is no note.

    Raises UsageError if it was begun with something else.
    """
    noted = note_path(path)
    try:
        begun_with = json.loads(noted.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise DataError(f"{noted}: cannot read it ({error}); delete it to resume anyway") from None
    now = _flat(json.loads(json.dumps({"format": FORMAT, **resumed_with})))  # tuples are lists
    before = _flat(begun_with)
    changed = [
        f"{key}: {before.get(key, 'none')} -> {now.get(key, 'none')}"
        for key in sorted({*now, *before})
        if now.get(key) != before.get(key)
    ]
    if changed:
        raise UsageError(
            f"{path}: begun with something else ({'; '.join(changed)}); resume with what it was "
            "begun with, or leave --resume out to start over"
        )
    return True


def _flat(value: object, place: str = "") -> dict[str, object]:
    """The values of nested mappings by their paths."""
    if isinstance(value, Mapping):
        return {
            path: leaf
            for key, inner in value.items()
            for path, leaf in _flat(inner, f"{place}.{key}" if place else str(key)).items()
        }
    return {place: value}
