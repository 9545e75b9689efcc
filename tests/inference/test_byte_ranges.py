"""Ranges of bytes have each line once, whatever their size."""

import hashlib
import random
from pathlib import Path

import pytest

from s2s.errors import DataError
from s2s.inference import byte_ranges
from s2s.inference.byte_ranges import ByteRanges, open_file
from s2s.text.lines import read_line

TEXTS = [b"", b"\n", b"a", b"a\n", b"\n\n\n", b"ab\n\ncdefghij\r\nk", b"one line without an end"]


def texts() -> list[bytes]:
    draw = random.Random(4)
    return TEXTS + [bytes(draw.choices(b"ab\n\r", k=draw.randrange(40))) for _ in range(30)]


def lines_of(path: Path, ranges: ByteRanges, index: int) -> list[bytes]:
    reader, found = ranges.open(path, index), []
    while raw := read_line(reader, "x", 1):
        found.append(raw)
    reader.close()
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50])
def test_each_line_is_in_one_range_and_counted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(byte_ranges, "BLOCK", 2)
    path = tmp_path / "in"
    for text in texts():
        path.write_bytes(text)
        ranges = ByteRanges(len(text), step)
        several = [lines_of(path, ranges, index) for index in range(ranges.count)]
        whole = text.split(b"\n")
        expected = [line + b"\n" for line in whole[:-1]] + whole[-1:] * bool(whole[-1])
        assert [line for one in several for line in one] == expected
        with open_file(path) as file:
            contents = [ranges.contents(file, index) for index in range(ranges.count)]
        assert [one.lines for one in contents] == list(map(len, several))
        assert [one.digest for one in contents] == [
            hashlib.sha256(text[k * step : (k + 1) * step]).hexdigest()[:32]
            for k in range(ranges.count)
        ]


def test_a_file_has_many_more_ranges_than_processes_but_not_too_many() -> None:
    assert ByteRanges.of(0, 4).count == 0
    assert ByteRanges.of(100, 4) == ByteRanges(100, 1 << 16)
    assert ByteRanges.of(1 << 26, 4).count == 64
    assert ByteRanges.of(1 << 32, 4).step == 1 << 22
    assert ByteRanges.of(1 << 40, 4).count <= byte_ranges.MOST_RANGES


def test_files_that_shrink_or_are_missing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a\nb\n")
    (tmp_path / "text").write_text("")
    with open_file(tmp_path / "in") as file, pytest.raises(DataError, match="became shorter"):
        ByteRanges(9, 9).contents(file, 0)
    with pytest.raises(DataError, match=r"texts: no such file; did you mean '.*/text'\?"):
        open_file(tmp_path / "texts")
    with pytest.raises(DataError, match="cannot be read"):
        open_file(tmp_path)
