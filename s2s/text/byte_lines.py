"""Lines of text as one array of bytes, which numpy looks at as a whole.

A line as an object of Python takes longer to make than all else that preparation does with it.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LINE_FEED, SPACE = 10, 32

_LANE = 8
"""Bytes that are hashed at a time."""

_KEY, _NEXT, _PLACE = np.frombuffer(os.urandom(3 * 8), dtype=np.uint64)
"""Hashes differ between processes, so nobody can make texts that collide."""

_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], dtype=np.uint64)
_HALF = np.uint64(32)

_MASKS = np.array([(1 << 8 * width) - 1 for width in range(_LANE + 1)], dtype=np.uint64)
"""The masks of the first bytes of a lane, by their number."""


class ByteLines(Sequence[str]):
    """Lines of text, decoded one by one where they are asked for."""

    def __init__(self, raw: bytes, ends: Places | None = None) -> None:
        """`raw` is valid UTF-8 with a line feed after each line; `ends` are the places of these,
        int64 [lines]."""
        self.raw = raw
        self.ends = line_feeds(raw) if ends is None else ends

    @classmethod
    def of(cls, lines: Sequence[str]) -> "ByteLines":
        """These lines, which have no line feed."""
        if isinstance(lines, cls):
            return lines
        found = cls("\n".join([*lines, ""]).encode())
        assert len(found) == len(lines), "a text is one line"
        return found

    @cached_property
    def starts(self) -> Places:
        """int64 [lines]: the place of the first byte of each line."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1] + 1])[: len(self.ends)]

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """uint8 [bytes], line feeds included."""
        return np.frombuffer(self.raw, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw.decode().split("\n")[:-1])

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        return self.raw[self.starts[place] : self.ends[place]].decode()

    def take(self, rows: Places) -> list[str]:
        """Some of the lines, int64 [rows]."""
        starts, ends = self.starts[rows].tolist(), self.ends[rows].tolist()
        return [self.raw[a:b].decode() for a, b in zip(starts, ends, strict=True)]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ByteLines):
            return self.raw == other.raw
        return isinstance(other, list) and list(self) == other

    __hash__ = None  # type: ignore[assignment]

    def rows_of(self, places: Places) -> Places:
        """int64 [rows]: the lines that have bytes at these places, which ascend."""
        return np.unique(np.searchsorted(self.ends, places))


def line_feeds(raw: bytes) -> Places:
    """int64 [lines]: the places of line feeds."""
    return np.flatnonzero(np.frombuffer(raw, dtype=np.uint8) == LINE_FEED)


def take_lines(lines: Sequence[str], rows: Places) -> list[str]:
    """Some of the lines, int64 [rows]."""
    if isinstance(lines, ByteLines):
        return lines.take(rows)
    return [lines[row] for row in rows.tolist()]


NO_LINES = ByteLines(b"")


@dataclass(frozen=True)
class LineWords:
    """The words of lines: all that is between two spaces (U+0020), which may be nothing."""

    lines: ByteLines
    starts: Places
    """int64 [words]: the place of the first byte of each word."""
    lengths: Places
    """int64 [words], in bytes."""
    firsts: Places
    """int64 [lines]: the number of the first word of each line; every line has one or more."""

    @classmethod
    def of(cls, lines: ByteLines) -> "LineWords":
        """The words of lines."""
        content = lines.bytes
        ends = np.flatnonzero((content == SPACE) | (content == LINE_FEED))
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])[: len(ends)]
        lasts = np.searchsorted(ends, lines.ends)
        firsts = np.concatenate([np.zeros(1, dtype=np.int64), lasts[:-1] + 1])[: len(lasts)]
        return cls(lines, starts, ends - starts, firsts)

    def texts(self, words: Places) -> list[str]:
        """The texts of some words, int64 [words]."""
        starts, lengths = self.starts[words].tolist(), self.lengths[words].tolist()
        raw = self.lines.raw
        return [raw[a : a + n].decode() for a, n in zip(starts, lengths, strict=True)]

    @cached_property
    def hashes(self) -> Hashes:
        """uint64 [words]. Different words of up to 8 bytes and of equal lengths differ."""
        return _word_hashes(self.lines.bytes, self.starts, self.lengths)

    def line_hashes(self) -> Hashes:
        """uint64 [lines]: hashes of words and of their places."""
        counts = np.diff(self.firsts, append=len(self.starts))
        places = np.arange(len(self.starts)) - np.repeat(self.firsts, counts)
        each = mix(self.hashes + places.astype(np.uint64) * (_PLACE | np.uint64(1)))
        if not len(self.firsts):
            return each
        return mix(np.add.reduceat(each, self.firsts) + counts.astype(np.uint64))


def _word_hashes(content: NDArray[np.uint8], starts: Places, lengths: Places) -> Hashes:
    lanes = _Lanes(content)
    found = lanes.at(starts) & _MASKS[np.minimum(lengths, _LANE)]
    found = mix(found ^ mix(lengths.astype(np.uint64) + _KEY))
    done = _LANE
    while len(longer := np.flatnonzero(lengths > done)):
        rest = np.minimum(lengths[longer] - done, _LANE)
        more = lanes.at(starts[longer] + done) & _MASKS[rest]
        found[longer] = mix(found[longer] + mix(more ^ _NEXT))
        done += _LANE
    return found


class _Lanes:
    """Numbers of eight bytes each, from any place of an array of bytes."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        padded = np.zeros((len(content) // _LANE + 2) * _LANE, dtype=np.uint8)
        padded[: len(content)] = content
        self._aligned = padded.view("<u8")

    def at(self, places: Places) -> Hashes:
        """uint64 [places]: the eight bytes from each place on, beyond the end zeros."""
        numbers, bits = places >> 3, ((places & 7) << 3).astype(np.uint64)
        low = self._aligned.take(numbers) >> bits
        # A shift by all 64 bits gives 0.
        low |= self._aligned.take(numbers + 1) << (np.uint64(64) - bits)
        return low.astype(np.uint64, copy=False)


def mix(values: Hashes) -> Hashes:
    """uint64 of the same shape: other numbers for other values, each bit from all of them."""
    mixed: Hashes = values * _MULTIPLIERS[0]
    mixed ^= mixed >> _HALF
    mixed *= _MULTIPLIERS[1]
    mixed ^= mixed >> _HALF
    return mixed
