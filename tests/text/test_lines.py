"""Lines end at a line feed and nowhere else, whatever system wrote them; invalid UTF-8 is an error
with its place."""

import gzip
import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from s2s.errors import DataError
from s2s.spaces import (
    is_blank,
    split_words,
    without_end_space,
    without_outer_space,
)
from s2s.text.lines import (
    LONGEST_LINE,
    decode_lines,
    one_line,
    read_lines,
)

ODD = "a\u2028b\x85c d\x0ce\x1cf\x0bg\u2029h"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []),
        ("\n", [""]),
        ("one", ["one"]),
        ("one\n", ["one"]),
        ("one\n\ntwo", ["one", "", "two"]),
        (f"{ODD}\n{ODD}\r\n", [ODD, ODD]),
        ("a\r\n\r\n\r\r\nb\rc\r\r", ["a", "", "", "b c"]),
        ("\r", [""]),
        (
            "\ufeffmark\n\ufeffof a joined file\nin\ufeffside",
            ["mark", "of a joined file", "in\ufeffside"],
        ),
        ("\ufeff", [""]),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines(
    tmp_path: Path, content: str, expected: list[str], pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "text"
    path.write_bytes(pack(content.encode()))
    assert list(read_lines(path)) == expected


@pytest.mark.parametrize("text", ["", "a", "a b", " a\t\u2028b ", "\x85", "in\ufeffside"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_marks_change_no_text(text: str, end: str, mark: str) -> None:
    assert one_line(mark + text + end) == text
    (found,) = (
        decode_lines(io.BytesIO((mark + text + end).encode()), "x") if mark + text + end else [""]
    )
    assert found == text


SPACES = [" ", "\t", "\u00a0", "\u3000", "\u2009", "\u200b", "\ufeff", "\x85", "\r", " \u200b\t"]


@pytest.mark.parametrize("space", SPACES)
def test_words_end_at_any_white_space(space: str) -> None:
    assert split_words(f"{space}ab{space}c{space}") == ["ab", "c"]
    assert is_blank(space) and is_blank(3 * space) and not is_blank(f"{space}a")


@pytest.mark.parametrize("character", ["\u200c", "\u200d", "\u2060", "\u00ad", "\u200e", "_"])
def test_no_other_character_ends_a_word(character: str) -> None:
    assert split_words(f"a{character}b c") == [f"a{character}b", "c"]
    assert not is_blank(character)


def test_lines_of_a_stream_come_one_by_one() -> None:
    stream = io.BytesIO(b"first\nsecond\n\xff\n")
    lines = decode_lines(stream, "<stdin>")
    assert next(lines) == "first"
    assert stream.tell() == len("first\n")
    assert next(lines) == "second"
    with pytest.raises(DataError) as error:
        next(lines)
    assert str(error.value) == (
        "<stdin>:3: not valid UTF-8 (byte 1 of the line is 0xff); 'iconv -f WINDOWS-1252 -t UTF-8 "
        "FILE > NEW' makes it UTF-8, if its encoding is WINDOWS-1252"
    )


def test_several_gzip_members_are_one_text(tmp_path: Path) -> None:
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"one\nt") + gzip.compress(b"wo\n"))
    assert list(read_lines(tmp_path / "text.gz")) == ["one", "two"]


def message(path: Path) -> str:
    with pytest.raises(DataError) as error:
        list(read_lines(path))
    assert error.value.exit_status == 2
    return str(error.value)


def test_faults_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "text"
    assert message(path) == f"{path}: no such file"
    assert message(tmp_path) == f"{tmp_path}: expected a file, found a folder"
    path.write_bytes("gut\ngrün\n".encode() + "grün".encode("latin-1"))
    assert message(path) == (
        f"{path}:3: not valid UTF-8 (byte 3 of the line is 0xfc); 'iconv -f WINDOWS-1252 -t UTF-8 "
        f"{path} > NEW' makes it UTF-8, if its encoding is WINDOWS-1252"
    )
    path.write_bytes(gzip.compress(b"line\n" * 1000)[:-9])
    assert message(path) == (
        f"{path}: damaged or truncated gzip file (Compressed file ended before the end-of-stream "
        "marker was reached)"
    )
    damaged = bytearray(gzip.compress(b"line\n" * 1000))
    damaged[-6] ^= 1
    path.write_bytes(damaged)
    assert message(path).startswith(f"{path}: damaged or truncated gzip file (CRC check failed")


class Endless(io.RawIOBase):
    """Letters without a line end; counts those that were read."""

    count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        buffer[:] = b"x" * len(buffer)
        self.count += len(buffer)
        return len(buffer)


def test_a_line_without_an_end_is_not_read_for_ever() -> None:
    raw = Endless()
    with pytest.raises(DataError) as error:
        list(decode_lines(io.BufferedReader(raw), "endless"))
    assert str(error.value).startswith("endless:1: expected a line of at most 16,777,216 bytes, ")
    assert raw.count <= 2 * LONGEST_LINE


def test_the_longest_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\n" + b"x" * LONGEST_LINE + b"\nb\n" + b"y" * LONGEST_LINE)
    assert [len(line) for line in read_lines(path)] == [1, LONGEST_LINE, 1, LONGEST_LINE]
    path.write_bytes(b"a\n" + b"x" * (LONGEST_LINE + 1) + b"\nb\n")
    assert message(path).startswith(f"{path}:2: expected a line of at most ")


@pytest.mark.parametrize("before", ["", " ", "\u200b", "\ufeff \t\u3000"])
@pytest.mark.parametrize("text", ["", "a", "a\u200bb", "ក ខ\u2060"])
@pytest.mark.parametrize("after", ["", "\t", "\u200b", " \u200b\r\n\u00a0"])
def test_outer_white_space(before: str, text: str, after: str) -> None:
    assert without_outer_space(before + text + after) == text
    assert without_end_space(before + text + after) == (before + text if text else "")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [("Straße\n".encode("latin-1"), "WINDOWS-1252"), ("Straße\n".encode("utf-16"), "UTF-16")],
)
def test_the_command_that_a_message_names_converts_the_text(
    tmp_path: Path, content: bytes, encoding: str
) -> None:
    path = tmp_path / "its name.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        list(read_lines(path))
    command = str(error.value).partition("; '")[2].partition("' makes it UTF-8, if its enc")[0]
    assert command.startswith(f"iconv -f {encoding} -t UTF-8 '")
    if shutil.which("iconv") is not None:
        subprocess.run(command.replace("NEW", "new"), shell=True, check=True, cwd=tmp_path)
        assert list(read_lines(tmp_path / "new")) == ["Straße"]


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        ("corpus.txt", "corpsu.txt", "; did you mean 'corpus.txt'?"),
        ("corpus.txt", "corpus.tx", "; did you mean 'corpus.txt'?"),
        ("corpus.txt", "other.txt", ""),
        ("corpus.txt", "nowhere/corpus.txt", ""),
    ],
)
def test_a_missing_file_of_nearly_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, wanted: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(there).touch()
    assert message(wanted) == f"{wanted}: no such file{expected}"
