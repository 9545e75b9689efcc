"""Blocks of lines of a text file, read as bytes; the policy is that of `s2s.text.lines`."""

import io
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from s2s.spaces import MARK
from s2s.text.byte_lines import ByteLines, line_feeds
from s2s.text.lines import LONGEST_LINE, decode_lines, name_of, open_bytes

READ_BYTES = 1 << 20
"""The least that is read at a time; as much again as is waiting for the end of a block."""

_MARK = MARK.encode()


def read_blocks(path: str | Path, size: int) -> Generator[ByteLines, None, None]:
    """The lines of a text file or gzip file, `size` at a time; raises as `open_bytes` and
    `decode_lines` do."""
    with open_bytes(path) as stream:
        yield from line_blocks(stream, name_of(path), size)


def line_blocks(stream: BinaryIO, name: str, size: int) -> Iterator[ByteLines]:
    """The lines of a binary stream, `size` at a time; raises as `decode_lines` does."""
    number = 1
    for lines in _raw_blocks(stream, size):
        if _is_sound(lines):
            yield _cleaned(lines)
        else:  # which line it is, and what it has
            decoded = decode_lines(io.BytesIO(lines.raw), name, LONGEST_LINE, number)
            yield ByteLines.of(list(decoded))
        number += len(lines)


def _raw_blocks(stream: BinaryIO, size: int) -> Iterator[ByteLines]:
    """The lines as they are, `size` at a time, then those that are left; one that is longer than a
    line may be ends them."""
    rest, ends = b"", np.empty(0, dtype=np.int64)
    while block := stream.read(max(READ_BYTES, len(rest))):
        ends = np.concatenate([ends, len(rest) + line_feeds(block)])
        rest += block
        begin = 0
        while len(ends) >= size:
            end = int(ends[size - 1]) + 1
            yield ByteLines(rest[begin:end], ends[:size] - begin)
            begin, ends = end, ends[size:]
        rest, ends = rest[begin:], ends - begin
        if len(rest) - (ends[-1] if len(ends) else 0) > LONGEST_LINE + 1:
            break
    if rest:
        yield ByteLines(rest if rest.endswith(b"\n") else rest + b"\n")


def _is_sound(lines: ByteLines) -> bool:
    """Whether lines are UTF-8 and none is too long."""
    if len(lines.raw) > LONGEST_LINE and (lines.ends - lines.starts).max() > LONGEST_LINE:
        return False
    # pyarrow tells sooner than Python, and lets other threads run.
    bounds = pa.py_buffer(np.array([0, len(lines.raw)]))
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, bounds, pa.py_buffer(lines.raw)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _cleaned(lines: ByteLines) -> ByteLines:
    """The lines as `s2s.text.lines.one_line` has them."""
    raw = lines.raw
    if b"\r" in raw:
        raw = _replaced(raw, b"\r\n", b"\n").replace(b"\r", b" ")
    if _MARK[:1] in raw and _MARK in raw:  # one byte is found sooner
        raw = _replaced(b"\n" + raw, b"\n" + _MARK, b"\n")[1:]
    return lines if raw is lines.raw else ByteLines(raw)


def _replaced(raw: bytes, old: bytes, new: bytes) -> bytes:
    """The bytes without `old`, also where it comes about when others are replaced."""
    while old in raw:
        raw = raw.replace(old, new)
    return raw
