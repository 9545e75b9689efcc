"""An output file that another run of the same command goes on with, whenever the first one ended.

Beside an unfinished FILE lies FILE.resume: with what it was begun (model, search, listing). It is
written before the first line and deleted after the last. Going on with something else would give
a file that is half the one and half the other, so it is refused.
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
"""Bytes read at a time, forwards."""

BACKWARDS = 1 << 16
"""Bytes read at a time, backwards, a row at a time."""

FORMAT = 1


class OutputFile(io.FileIO):
    """A file of which every write is there as a whole, or not at all.

    What was in it stays until `keep`.
    """

    def __init__(self, path: Path) -> None:
        """Raises DataError where it cannot be written."""
        try:
            super().__init__(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "rb+")
        except OSError as error:
            raise DataError(f"{path}: cannot write it: {error.strerror}") from None
        self.is_regular = stat.S_ISREG(os.fstat(self.fileno()).st_mode)

    def keep(self, size: int) -> None:
        """Keep the first `size` bytes and write behind them; a pipe or a device keeps nothing."""
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
    """How far an output file goes."""

    lines: int
    """Lines of input whose output is complete."""
    size: int
    """Bytes that hold it."""


def count_lines(file: BinaryIO) -> Done:
    """The complete lines of a file, which is read from its beginning."""
    file.seek(0)
    lines = end = place = 0
    while chunk := file.read(CHUNK):
        lines += chunk.count(b"\n")
        last = chunk.rfind(b"\n")
        end = place + last + 1 if last >= 0 else end
        place += len(chunk)
    return Done(lines, end)


def count_listed(file: BinaryIO, form: ListFormat, name: str) -> Done:
    """The lines whose rows in a listing are complete.

    Those of the last line are left out, for there may be more of them. Raises DataError for what
    is no listing.
    """
    end = count_lines(file).size
    number = start = None
    while end > 0:
        start = _line_start(file, end)
        file.seek(start)
        found = _line_number(file.read(end - start), form, name)
        if number is not None and found != number:
            if found != number - 1:
                raise DataError(f"{name}: a row of line {found} stands before one of line {number}")
            return Done(found, end)
        number, end = found, start
    return Done(0, 0)


def _line_start(file: BinaryIO, end: int) -> int:
    """Where the line begins whose last byte, a line end, is the one before `end`."""
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
            f"{name}: expected a listing ({form}) to go on with, found the row {shown!r}"
        ) from None


def skip(source: BinaryIO, lines: int, name: str) -> None:
    """Read so many lines of the input and forget them; raises DataError where it has fewer."""
    for number in range(lines):
        if not source.readline():
            raise DataError(
                f"{name}: it has the output of {lines:,} lines, but the input has {number:,}; "
                "is it another input?"
            )


# --------------------------------------------------------------------- with what it was begun


def note_path(path: Path) -> Path:
    """Where it is noted with what `path` was begun."""
    return path.with_name(f"{path.name}.resume")


def write_note(path: Path, begun_with: Mapping[str, Any]) -> None:
    """Note with what `path` is begun. Where the folder takes no file, there is no note."""
    content = {"format": FORMAT, **begun_with}
    with suppress(OSError):
        atomic_write(note_path(path), json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def remove_note(path: Path) -> None:
    """The output is complete."""
    with suppress(OSError):
        note_path(path).unlink(missing_ok=True)


def check_note(path: Path, going_on_with: Mapping[str, Any]) -> bool:
    """Whether it is known that `path` was begun with the same; False where there is no note.

    Raises UsageError where it was begun with something else.
    """
    noted = note_path(path)
    try:
        begun_with = json.loads(noted.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise DataError(f"{noted}: cannot read it ({error}); delete it to go on anyway") from None
    now = _flat(json.loads(json.dumps({"format": FORMAT, **going_on_with})))  # tuples are lists
    before = _flat(begun_with)
    changed = [
        f"{key}: {before.get(key, 'none')} -> {now.get(key, 'none')}"
        for key in sorted({*now, *before})
        if now.get(key) != before.get(key)
    ]
    if changed:
        raise UsageError(
            f"{path}: begun with something else ({'; '.join(changed)}); go on with what it was "
            "begun with, or leave --resume out to start over"
        )
    return True


def _flat(value: object, place: str = "") -> dict[str, object]:
    """The values of nested mappings, with their path."""
    if isinstance(value, Mapping):
        return {
            path: leaf
            for key, inner in value.items()
            for path, leaf in _flat(inner, f"{place}.{key}" if place else str(key)).items()
        }
    return {place: value}
