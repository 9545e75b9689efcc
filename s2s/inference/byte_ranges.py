"""Ranges of bytes of a text file, cut at line ends, so that processes read apart from each other.

Range i of a file that is cut every `step` bytes has the lines whose first byte is one of the bytes
i * step to (i + 1) * step - 1. So each line is in one range, and where a range begins is known
without reading those before it.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from s2s.errors import DataError
from s2s.text.lines import no_such_file

BLOCK = 1 << 20
"""Bytes read at a time where lines do not matter."""

PER_PROCESS = 16
"""Ranges for each process, where the file is long enough: the last ones balance the work."""

LEAST_BYTES, MOST_BYTES = 1 << 16, 1 << 22
"""Bytes of a range: a short one fills no batch, and a long one is much to repeat."""

MOST_RANGES = 10_000
"""Ranges of a file, each of which becomes a file, whatever their size."""


class RangeContents(NamedTuple):
    """What a range has."""

    lines: int
    digest: str
    """A hash of its bytes, before they are cut at line ends."""


@dataclass(frozen=True)
class ByteRanges:
    """The ranges of a file."""

    size: int
    """Bytes of the file."""
    step: int
    """Bytes of a range, before it is cut at line ends."""

    @classmethod
    def of(cls, size: int, processes: int) -> "ByteRanges":
        """The ranges of a file of so many bytes, enough for so many processes."""
        step = min(max(size // (PER_PROCESS * processes), LEAST_BYTES), MOST_BYTES)
        return cls(size, max(step, math.ceil(size / MOST_RANGES)))

    @property
    def count(self) -> int:
        """The number of ranges."""
        return math.ceil(self.size / self.step)

    def ends(self, index: int) -> tuple[int, int]:
        """The first byte of a range, and the one after its last, before it is cut."""
        return index * self.step, min((index + 1) * self.step, self.size)

    def contents(self, file: BinaryIO, index: int) -> RangeContents:
        """The lines of a range, counted but not decoded, and its hash.

        Raises DataError for a file that is shorter than it was.
        """
        begin, end = self.ends(index)
        lines = 1 if begin == 0 else int(_byte(file, begin - 1) == b"\n")
        digest, last = hashlib.sha256(), b""
        file.seek(begin)
        while begin < end:
            block = file.read(min(BLOCK, end - begin))
            if not block:
                raise DataError(f"{file.name}: it became shorter while it was read")
            digest.update(block)
            lines += block.count(b"\n")
            last = block[-1:]
            begin += len(block)
        return RangeContents(lines - (last == b"\n"), digest.hexdigest()[:32])

    def open(self, path: Path, index: int) -> "RangeReader":
        """The lines of a range."""
        return RangeReader(open_file(path), *self.ends(index))


def open_file(path: Path) -> BinaryIO:
    """A file whose bytes are counted; raises DataError if it cannot be read."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise no_such_file(path) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


class RangeReader:
    """A binary stream of the lines of a range."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        """Skips the rest of the line that begins before byte `begin`."""
        self.file, self.end = file, end
        self.name = file.name
        self.place = max(0, begin - 1)
        self.is_line_start = begin == 0
        file.seek(self.place)
        while not self.is_line_start and self._read(BLOCK):
            pass

    def readline(self, limit: int = -1, /) -> bytes:
        """The next line, or so many bytes of a longer one; empty at the end of the range."""
        if self.is_line_start and self.place >= self.end:
            return b""
        return self._read(limit)

    def _read(self, limit: int) -> bytes:
        raw = self.file.readline(limit)
        self.place += len(raw)
        self.is_line_start = raw.endswith(b"\n")
        return raw

    def isatty(self) -> bool:
        """Nobody types it."""
        return False

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self.file.fileno()

    def tell(self) -> int:
        """The place in the file, in bytes."""
        return self.place

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _byte(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(1)
