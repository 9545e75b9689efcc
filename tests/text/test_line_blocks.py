"""Blocks of lines are the lines that are read one by one, and refused as they are."""

import gzip
import io
from itertools import chain
from pathlib import Path
from random import Random

import pytest

from s2s.errors import DataError
from s2s.text import line_blocks, lines
from s2s.text.line_blocks import read_blocks
from s2s.text.lines import read_lines

RANDOM = Random(3)
PARTS = [
    b"a",
    b"bc",
    b" ",
    b"\n",
    b"\n",
    b"\r",
    b"\r\n",
    b"\xef\xbb\xbf",
    "ä€🙂\u2028\x0b".encode(),
]


def outcome(path: Path, size: int | None) -> list[str] | str:
    """The lines of a file, or the error."""
    try:
        if size is None:
            return list(read_lines(path))
        return list(chain.from_iterable(read_blocks(path, size)))
    except DataError as error:
        return str(error)


@pytest.mark.parametrize(
    "more",
    [
        [],
        [b"\xed\xa0\x80"],
        [b"\xc0\x80"],
        [b"\xf4\x90\x80\x80"],
        [b"\xff"],
        [b"\xef\xbb"],
        [b"x" * 30],
        [b"\x00"],
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_all_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[bytes], is_packed: bool
) -> None:
    monkeypatch.setattr(line_blocks, "READ_BYTES", 5)
    for module in (lines, line_blocks):
        monkeypatch.setattr(module, "LONGEST_LINE", 20)
    for function in (lines.read_line, lines.raw_lines, lines.decode_lines):
        changed = tuple(20 if one == 1 << 24 else one for one in function.__defaults__ or ())
        monkeypatch.setattr(function, "__defaults__", changed)
    path = tmp_path / "text"
    for size in (1, 2, 3, 100):
        for _ in range(60):
            raw = b"".join(RANDOM.choices([*PARTS, *more], k=RANDOM.randrange(30)))
            path.write_bytes(gzip.compress(raw) if is_packed else raw)
            assert outcome(path, size) == outcome(path, None)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_blocks_have_as_many_lines_as_asked_for(tmp_path: Path, size: int) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\n".join([b"abc"] * 7))
    found = list(map(len, read_blocks(path, size)))
    assert found == [size] * (7 // size) + [7 % size] * (7 % size > 0)


def test_a_line_without_end_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_blocks, "LONGEST_LINE", 1 << 21)
    monkeypatch.setattr(lines, "LONGEST_LINE", 1 << 21)

    class Endless(io.RawIOBase):
        num_read = 0

        def read(self, size: int = -1) -> bytes:
            self.num_read += size
            return b"a" * size

    stream = Endless()
    with pytest.raises(DataError, match=r"^endless:1: expected a line of at most"):
        list(line_blocks.line_blocks(stream, "endless", 10))  # type: ignore[arg-type]
    assert stream.num_read < 1 << 23
