"""The one policy for lines and white space, which every reader of text follows.

A line ends at a line feed and nowhere else: splitting at U+2028, U+0085 or form feed would change
the number of lines. A last line without line feed counts. Carriage returns before the line feed, or
at the end of the last line, are a part of the line end, so that files of any system are read alike.
A line break within a text (a cell of several lines, a lone carriage return) becomes a space. A byte
order mark at the beginning of a line is not text: files that are joined have some inside.

All other characters are text. Tokenizers of words take every white space for a space, including two
characters that Unicode does not count as such (`s2s.spaces`).
"""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from s2s.errors import DataError
from s2s.files import GZIP_MAGIC, did_you_mean_file
from s2s.spaces import MARK, is_blank
from s2s.text.remote import local_copy

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DAMAGED = "damaged or truncated gzip file"

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of files in UTF-16, little and big endian."""

_LINE_BREAK = re.compile(r"\r\n|\r|\n")

LONGEST_LINE = 1 << 24
"""The most bytes of a line of text: one without an end would be read until memory ends."""

LONGEST_ROW = 1 << 26
"""The most bytes of a row of a table, which may have columns that are not read."""

STANDARD = "-"
"""The name of stdin, where a file is read, and of stdout, where one is written."""


def is_standard(path: str | Path | None) -> bool:
    """Whether a path stands for stdin or stdout; no path does too."""
    return path is None or str(path) == STANDARD


def name_of(path: str | Path) -> str:
    """The name of an input in messages."""
    return "<stdin>" if is_standard(path) else str(path)


def name_of_stream(stream: object) -> str:
    """The name of an open file in messages."""
    name = getattr(stream, "name", None)
    if isinstance(name, str) and name != "<stdin>":
        return name
    return "<stdin>" if name in (0, "<stdin>") else "input"


def no_such_file(path: str | Path) -> DataError:
    """The error for a missing file, with the name of one beside it that is close."""
    return DataError(f"{path}: no such file{did_you_mean_file(path)}")


def open_input(path: str | Path) -> BinaryIO:
    """The bytes of a file, of a URL, or of stdin for `-`; of a gzip file, decompressed.

    Unlike `open_bytes`, it needs no context, in which other errors might come up. Raises DataError
    for what cannot be opened and, while it is read, for a damaged gzip file.
    """
    if is_standard(path):
        if sys.stdin is None:  # the parent process has closed it
            raise DataError("stdin is closed; name a file instead of -")
        return sys.stdin.buffer
    local = local_copy(path)
    try:
        raw = local.open("rb")
        if raw.peek(2)[:2] != GZIP_MAGIC:
            return raw
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return cast(BinaryIO, io.BufferedReader(_Unzipped(raw, str(path)), buffer_size=1 << 18))


class _Unzipped(io.RawIOBase):
    """The content of a gzip file, whose faults are DataErrors."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.raw, self._name = raw, name
        self.content = gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    @property
    def name(self) -> str:
        """The name of the file, which a `BufferedReader` around this takes over."""
        return self._name

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        try:
            data = self.content.read(view.nbytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self._name}: {DAMAGED} ({error})") from error
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.raw.close()
        super().close()


@contextmanager
def open_bytes(path: str | Path) -> Iterator[BinaryIO]:
    """The bytes of a file, of a URL, or of stdin for `-`; of a gzip file, decompressed.

    Raises DataError, with the file, if it is missing, a folder or unreadable, and (also while it is
    read within the context) for a truncated or damaged gzip stream.
    """
    if is_standard(path):
        yield open_input(path)
        return
    local = local_copy(path)
    try:
        with local.open("rb") as raw:
            if raw.peek(2)[:2] != GZIP_MAGIC:
                yield raw
                return
            with gzip.open(raw) as unzipped:
                yield cast(BinaryIO, io.BufferedReader(unzipped, buffer_size=1 << 18))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: {DAMAGED} ({error})") from error
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: expected a file, found a folder") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def one_line(text: str) -> str:
    """A text as one line: without line end and byte order mark, a space for each line break."""
    if "\r" in text or "\n" in text:
        text = _LINE_BREAK.sub(" ", text.rstrip("\r\n"))
    return text.lstrip(MARK) if MARK in text else text


def has_line_break(text: str) -> bool:
    """Whether a text has several lines, which `one_line` joins."""
    return ("\n" in text or "\r" in text) and bool(_LINE_BREAK.search(text.rstrip("\r\n")))


def decode_line(raw: bytes, errors: str = "strict") -> str:
    """A line of bytes, with its line end or without, as text; `errors` as in `bytes.decode`.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    return one_line(raw.removesuffix(b"\n").decode("utf-8", errors))


def unless_blank(text: str) -> str:
    """The text, or an empty one for white space alone."""
    return "" if is_blank(text) else text


class SupportsReadline(Protocol):
    """A binary stream of lines."""

    def readline(self, limit: int = -1, /) -> bytes:
        """The next line, or so many bytes of a longer one; empty at the end."""
        ...


def read_line(
    stream: SupportsReadline, name: str, number: int, longest: int = LONGEST_LINE
) -> bytes:
    """The next line with its line feed; empty at the end.

    Raises DataError, with `name` and its `number`, for one of more than `longest` bytes, of which
    no more are read.
    """
    raw = stream.readline(longest + 1)
    if len(raw) > longest and raw[-1:] != b"\n":
        raise DataError(
            f"{name}:{number}: expected a line of at most {longest:,} bytes, found a longer one; "
            "break it into lines, or is it no text?"
        )
    return raw


def raw_lines(
    stream: SupportsReadline, name: str, longest: int = LONGEST_LINE, number: int = 1
) -> Iterator[bytes]:
    """The lines of a binary stream, with their line feeds; raises as `read_line` does."""
    while raw := read_line(stream, name, number, longest):
        yield raw
        number += 1


def decode_lines(
    stream: SupportsReadline, name: str, longest: int = LONGEST_LINE, first: int = 1
) -> Iterator[str]:
    """The lines of a binary stream, without their line end; holds one line at a time.

    Raises DataError, with `name` and the line, for bytes that are not UTF-8 and for a line of more
    than `longest` bytes. The lines are numbered from `first` on.
    """
    for number, raw in enumerate(raw_lines(stream, name, longest, first), start=first):
        try:
            yield decode_line(raw)
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} of the line is 0x{raw[error.start]:02x}"
            raise DataError(
                f"{name}:{number}: not valid UTF-8 ({place}); {to_utf8(raw, name)}"
            ) from error


def to_utf8(raw: bytes, name: str = "FILE") -> str:
    """What to do with a line that is not UTF-8: a command that converts the file, from the encoding
    that its bytes look like."""
    import shlex

    looks = "UTF-16" if b"\0" in raw or raw[:2] in UTF_16_MARKS else "WINDOWS-1252"
    file = "FILE" if name.startswith("<") else shlex.quote(name)
    return f"'iconv -f {looks} -t UTF-8 {file} > NEW' makes it UTF-8, if its encoding is {looks}"


def decode_rows(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The same of a table, whose lines may be longer."""
    return decode_lines(stream, str(path), LONGEST_ROW)


def count_lines(path: str | Path) -> int:
    """The number of lines of a text file or gzip file, without decoding them; raises as
    `open_bytes` does."""
    count, last = 0, b"\n"
    with open_bytes(path) as stream:
        while block := stream.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def read_lines(path: str | Path) -> Generator[str, None, None]:
    """The lines of a text file or gzip file; raises as `open_bytes` and `decode_lines` do."""
    with open_bytes(path) as stream:
        yield from decode_lines(stream, name_of(path))
