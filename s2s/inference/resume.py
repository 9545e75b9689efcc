"""Resuming an output file with the command that began it, wherever the first run ended.

Beside an unfinished FILE is FILE.resume, a note of what it was begun with (model, search,
format), and of the lines that were read (`s2s.inference.input_record`). It is written before the
first line and deleted after the last. Resuming with anything else would mix two outputs in one
file, so it is refused.
"""

import io
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from s2s.errors import DataError, UsageError, shortened
from s2s.files import atomic_write, parse_json
from s2s.inference.input_record import HashedInput, InputRecord, Row, last_row, read_rows
from s2s.inference.nbest import ListFormat
from s2s.messages import note
from s2s.text.lines import name_of_stream, read_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CHUNK = 1 << 20
"""Bytes read at a time from the beginning of a file."""

BACKWARDS = 1 << 16
"""Bytes read at a time from the end of a file."""

FORMAT = 2
"""Version of the note: 1 had no rows, and of models, files and search less than is noted now."""

SINCE_2 = ("tokenizers", "lexicon", "features", "demands.file")
"""What a note of format 1 does not say, or says otherwise."""


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
        self.record: InputRecord | None = None
        """Notes the lines that were read, before their outputs are written."""

    def keep(self, size: int) -> None:
        """Keep the first `size` bytes and write after them; a pipe or a device keeps nothing."""
        if self.is_regular:
            self.truncate(size)
            self.seek(size)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of `data`."""
        if self.record is not None:
            self.record.add()
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


def count_lines(file: BinaryIO, most: int | None = None) -> Done:
    """The complete lines of a file, read from its beginning; only the first `most` if given."""
    file.seek(0)
    lines = end = place = 0
    while chunk := file.read(CHUNK):
        found = chunk.count(b"\n")
        if most is not None and lines + found > most:
            last = -1
            for _ in range(most - lines):
                last = chunk.find(b"\n", last + 1)
            return Done(most, place + last + 1 if most > lines else end)
        lines += found
        last = chunk.rfind(b"\n")
        end = place + last + 1 if last >= 0 else end
        place += len(chunk)
    return Done(lines, end)


def count_listed(file: BinaryIO, form: ListFormat, name: str, most: int | None = None) -> Done:
    """The lines whose rows of scored outputs are complete; only the first `most` if given.

    Rows of the last line do not count, as more may be missing. Raises DataError for a file that
    does not have such rows.
    """
    end = count_lines(file).size
    number = start = None
    while end > 0:
        start = line_start(file, end)
        file.seek(start)
        found = _line_number(file.read(end - start), form, name)
        if number is not None and found != number:
            if found != number - 1:
                raise DataError(f"{name}: a row of line {found} comes before one of line {number}")
            if most is None or found <= most:
                return Done(found, end)
        number, end = found, start
    return Done(0, 0)


def line_start(file: BinaryIO, end: int) -> int:
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
        return int(parse_json(row)["line"] if form == "jsonl" else row.split(b"\t")[0])
    except (ValueError, KeyError, TypeError, OverflowError):  # 1e999 is infinite
        shown = row[:40].decode(errors="replace").rstrip("\n")
        raise DataError(
            f"{name}: expected scored outputs ({form}) to resume, found the row {shown!r}"
        ) from None


def skip(source: BinaryIO | HashedInput, lines: int, name: str) -> None:
    """Skip so many lines of the input; raises DataError if it has fewer."""
    for number in range(lines):
        if not read_line(source, name_of_stream(source), number + 1):
            raise DataError(
                f"{name}: it has the output of {lines:,} lines, but the input has {number:,}; "
                "is it another input?"
            )


# ---------------------------------------------------------- the note of what it was begun with


def note_path(path: Path) -> Path:
    """The file with the note about `path`."""
    return path.with_name(f"{path.name}.resume")


def write_note(path: Path, begun_with: Mapping[str, Any], rows: Sequence[Row] = ()) -> None:
    """Note what `path` is begun with, and the lines of input that were read before. A folder that
    takes no file gets no note."""
    lines: list[Any] = [{"format": FORMAT, **begun_with}, *rows]
    with suppress(OSError):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        atomic_write(note_path(path), text)


def remove_note(path: Path) -> None:
    """Delete the note: the output is complete."""
    with suppress(OSError):
        note_path(path).unlink(missing_ok=True)


class Noted(NamedTuple):
    """What a note says, if it says that a file was begun with the same."""

    exists: bool = False
    """Whether there is a note."""
    rows: list[Row] | None = None
    """The lines of input that were read; None if the note does not say."""


def check_note(path: Path, resumed_with: Mapping[str, Any]) -> Noted:
    """The note about `path`. Raises UsageError if it was begun with something else."""
    noted = note_path(path)
    try:
        begun_with, rows = _read_note(noted.read_bytes())
    except FileNotFoundError:
        return Noted()
    except (OSError, ValueError) as error:
        raise DataError(f"{noted}: cannot read it ({error}); delete it to resume anyway") from None
    format_ = begun_with.pop("format", None)
    if format_ in (1, FORMAT):
        refuse_other(path, begun_with, resumed_with, unknown=SINCE_2 if format_ == 1 else ())
    else:
        refuse_other(path, {**begun_with, "format": format_}, {**resumed_with, "format": FORMAT})
    return Noted(exists=True, rows=None if format_ == 1 else rows)


def refuse_other(
    path: Path,
    begun_with: Mapping[str, Any],
    resumed_with: Mapping[str, Any],
    *,
    unknown: tuple[str, ...] = (),
) -> None:
    """Raises UsageError where the two differ in other keys than those that begin with one of
    `unknown`."""
    before, now = (_flat(json.loads(json.dumps(one))) for one in (begun_with, resumed_with))
    changed = [
        f"{key!s:.80}: {before.get(key, 'none')!s:.80} -> {now.get(key, 'none')!s:.80}"
        for key in sorted({*now, *before})
        if _compared(key, now) != _compared(key, before) and not key.startswith(unknown)
    ]
    if changed:
        listed = shortened("; ".join(changed), 1000)
        raise UsageError(
            f"{path}: begun with something else ({listed}); resume with what it was "
            "begun with, or leave --resume out to start over"
        )


def _read_note(content: bytes) -> tuple[Any, list[Row]]:
    """What an output was begun with, and the lines of its input. Raises ValueError."""
    first, *rows = content.splitlines() or [b""]
    try:
        found, read = parse_json(first), read_rows(rows)
    except ValueError:
        found, read = parse_json(content), []  # format 1: an object over several lines
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found, read


def _compared(key: str, values: Mapping[str, object]) -> object:
    """The value of a key without the names of models: a run may be moved."""
    found = values.get(key)
    if key == "models" and isinstance(found, list):
        return [str(one).rpartition(" ")[2] for one in found]
    return found


def _flat(value: object, place: str = "") -> dict[str, object]:
    """The values of nested mappings by their paths."""
    if isinstance(value, Mapping):
        return {
            path: leaf
            for key, inner in value.items()
            for path, leaf in _flat(inner, f"{place}.{key}" if place else str(key)).items()
        }
    return {place: value}


def complete_part(
    file: OutputFile, path: Path, fingerprint: dict[str, Any], form: ListFormat | None
) -> tuple[Done, list[Row]]:
    """The part of the output that exists, if the same command began it, and the rows about its
    input. What is beyond the last row is written again: its input is not known."""
    noted = check_note(path, fingerprint)

    def count(most: int | None = None) -> Done:
        if form is None:
            return count_lines(file, most)
        return count_listed(file, form, str(path), most)

    done, doubt = count(), ""
    if noted.rows is not None:
        known = last_row(noted.rows, done.lines).lines
        done = done if known == done.lines else count(known)
    elif done.lines:
        doubt = "the input" if noted.exists else "the model, the options and the input"
        doubt = f"; without a record of {doubt}"
    note(f"{path}: {done.lines:,} lines exist{doubt}")
    return done, [row for row in noted.rows or () if row.lines <= done.lines]
