"""Decodes lines of text, which end at a line feed and nowhere else.

U+2028, U+0085, carriage return and form feed are ordinary characters: splitting at them would
change the number of lines. A last line without line feed counts. A byte order mark at the beginning
of a file is not text.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from s2s.errors import DataError
from s2s.files import GZIP_MAGIC

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DAMAGED = "damaged or truncated gzip file"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


STANDARD = "-"
"""The name of stdin, where a file is read, and of stdout, where one is written."""


def is_standard(path: str | Path | None) -> bool:
    """Whether a path stands for stdin or stdout; no path does too."""
    return path is None or str(path) == STANDARD


def name_of(path: str | Path) -> str:
    """The name of an input in messages."""
    return "<stdin>" if is_standard(path) else str(path)


def open_input(path: str | Path) -> BinaryIO:
    """The bytes of a file, or of stdin for `-`; of a gzip file, decompressed.

    Unlike `open_bytes`, it needs no context, in which other errors might come up. Raises DataError
    for what cannot be opened and, while it is read, for a damaged gzip file.
    """
    if is_standard(path):
        if sys.stdin is None:  # the parent process has closed it
            raise DataError("stdin is closed; name a file instead of -")
        return sys.stdin.buffer
    try:
        raw = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
        if raw.peek(2)[:2] != GZIP_MAGIC:
            return raw
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return cast(BinaryIO, io.BufferedReader(_Unzipped(raw, str(path)), buffer_size=1 << 18))


class _Unzipped(io.RawIOBase):
    """The content of a gzip file, whose faults are DataErrors."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self.raw, self.name = raw, name
        self.content = gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        try:
            data = self.content.read(view.nbytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self.name}: {DAMAGED} ({error})") from error
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.raw.close()
        super().close()


@contextmanager
def open_bytes(path: str | Path) -> Iterator[BinaryIO]:
    """The bytes of a file, or of stdin for `-`; of a gzip file, decompressed.

    Raises DataError, with the file, if it is missing, a folder or unreadable, and (also while it is
    read within the context) for a truncated or damaged gzip stream.
    """
    if is_standard(path):
        yield open_input(path)
        return
    try:
        with Path(path).open("rb") as raw:
            if raw.peek(2)[:2] != GZIP_MAGIC:
                yield raw
                return
            with gzip.open(raw) as unzipped:
                yield cast(BinaryIO, io.BufferedReader(unzipped, buffer_size=1 << 18))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: {DAMAGED} ({error})") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: expected a file, found a folder") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def decode_lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines of a binary stream, without their line feed; holds one line at a time.

    Raises DataError, with `name` and the line, for bytes that are not UTF-8.
    """
    for number, raw in enumerate(stream, start=1):
        line = raw.removesuffix(b"\n")
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
            raise DataError(f"{name}:{number}: not valid UTF-8 ({place})") from error


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
