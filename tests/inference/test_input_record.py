"""An output is resumed with the input that it was begun with, and with no other."""

import io
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from s2s.inference import input_record
from s2s.inference.input_record import HashedInput, InputRecord, Row, last_row, read_rows
from s2s.inference.resume import note_path
from s2s.inference.stream import respond_stream
from tests.commands import HANGS, Call
from tests.inference.test_resume import FILES, LINES, call, here, run_folder, stop_after

__all__ = ["call", "here", "run_folder"]

OTHER = ["b b", *LINES[1:]]


def read(*lines: bytes) -> Row:
    source = HashedInput(io.BytesIO(b"".join(lines)))
    while source.readline():
        pass
    return source.row


def test_the_hash_is_that_of_the_lines() -> None:
    assert read(b"a\n", b"b") == read(b"a\n", b"b\n") != read(b"a\n", b"c\n")
    assert read(b"a\n\n") != read(b"a\n") != read(b"a\r\n")
    assert read() == Row(0, read().digest)


def test_rows_precede_the_outputs_and_are_few(tmp_path: Path, monkeypatch) -> None:
    """A row a second, and the last: a window may be as short as a line."""
    clock = itertools.count(step=0.3)
    monkeypatch.setattr(input_record.time, "monotonic", lambda: next(clock))
    note = tmp_path / "note"
    note.write_text("head\n")
    source = HashedInput(io.BytesIO(b"a\n" * 9))
    record = InputRecord(note, source)
    for _ in range(9):
        source.readline()
        record.add()
    record.close()
    rows = read_rows(note.read_bytes().splitlines()[1:])
    assert rows[-1] == source.row
    assert 2 < len(rows) < 9
    assert all(row == read(b"a\n" * row.lines) for row in rows)


def test_rows_that_are_cut_or_damaged_do_not_count() -> None:
    rows = [b'[4, "ab"]', b"[]", b"\xff", b'[8, "c', b"9", b'["x", 2]', b""]
    assert read_rows(rows) == [Row(4, "ab")]
    assert last_row([Row(0, "x"), Row(4, "y"), Row(8, "z")], 7) == Row(4, "y")
    assert last_row([], 7).lines == 0


def test_a_record_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    source = HashedInput(io.BytesIO(b"a\nb\n"))
    record = InputRecord(tmp_path / "nowhere" / "note", source)

    class Target(io.BytesIO):
        def write(self, data) -> int:
            record.add()
            return super().write(data)

    target = Target()
    respond_stream(cast(BinaryIO, source), target, lambda lines, _: lines, 1, False)
    record.close()
    assert target.getvalue() == b"a\nb\n"


@pytest.mark.parametrize(
    ("options", "known"), [([], 8), (["--nbest", "2", "--format", "jsonl"], 4)], ids=str
)
def test_another_input_of_the_same_length_is_refused(
    here: Path,
    call: Call,
    options: list[str],
    known: int,
) -> None:
    whole = call.output(*FILES[:3], "--input", "in", *options)
    stop_after(2, call, *options)
    before = Path("out").read_bytes()
    Path("other").write_text("\n".join(OTHER))
    other = [name if name != "in" else "other" for name in FILES]
    status, _, err = call(*other, *options, "--resume")
    assert (status, err.splitlines()[-1]) == (
        2,
        f"s2s: error: out: begun with another input (its first {known} lines differ); resume with "
        "the input it was begun with, or leave --resume out to start over",
    )
    assert Path("out").read_bytes() == before
    assert call(*other, *options, "--resume")[0] == 2  # the note has stayed
    assert call(*FILES, *options, "--resume")[0] == 0
    assert Path("out").read_bytes() == whole
    assert not note_path(Path("out")).exists()


def test_an_input_that_has_grown_or_comes_from_elsewhere(here: Path, call: Call) -> None:
    stop_after(2, call)
    grown = "\n".join([*LINES, "c", "a b"]).encode() + b"\n"
    named = [name for name in FILES if name not in ("--input", "in")]
    assert call(*named, "--resume", stdin=grown)[0] == 0
    assert Path("out").read_bytes() == call.output(*FILES[:3], stdin=grown)


@pytest.mark.parametrize("lines", [0, 3, 4, 7])
def test_what_is_beyond_the_last_known_line_is_written_again(
    here: Path,
    call: Call,
    lines: int,
) -> None:
    """A power failure may take more of the output than of the note; a kill, a part of a window."""
    whole = call.output(*FILES[:3], "--input", "in")
    stop_after(2, call)
    rows = read_rows(note_path(Path("out")).read_bytes().splitlines()[1:])
    assert [row.lines for row in rows] == [0, 4, 8] or [row.lines for row in rows] == [0, 8]
    kept = Path("out").read_bytes().splitlines(keepends=True)[:lines]
    Path("out").write_bytes(b"".join(kept) + b"half a li")
    assert call(*FILES, "--resume")[0] == 0
    assert Path("out").read_bytes() == whole


def test_a_note_of_an_earlier_version(here: Path, call: Call) -> None:
    """It was one object over several lines, without tokenizers and without rows."""
    whole = call.output(*FILES[:3], "--input", "in")
    stop_after(2, call)
    note = note_path(Path("out"))
    content = json.loads(note.read_bytes().splitlines()[0])
    del content["tokenizers"]
    note.write_text(json.dumps({**content, "format": 1}, indent=1) + "\n")
    status, _, err = call(*FILES, "--resume")
    assert (status, err) == (0, "s2s: out: 8 lines exist; without a record of the input\n")
    assert Path("out").read_bytes() == whole


def test_a_run_may_be_moved_and_its_tokenizers_not_replaced(here: Path, call: Call) -> None:
    whole = call.output(*FILES[:3], "--input", "in")
    stop_after(2, call)
    Path("runs/toy").rename("runs/moved")
    moved = [name if name != "toy" else "moved" for name in FILES]
    vocabulary = next(Path("runs/moved/tokenizer").rglob("vocabulary.json"))
    text = vocabulary.read_text()
    vocabulary.write_text(text.replace("zwei", "drei"))
    status, line = call.fault(*moved, "--resume")
    assert (status, "begun with something else (tokenizers: " in line) == (2, True)
    vocabulary.write_text(text)
    assert call(*moved, "--resume")[0] == 0
    assert Path("out").read_bytes() == whole


def test_prefixes_are_known_by_what_they_are(here: Path, call: Call) -> None:
    Path("prefixes").write_text("b\n" * len(LINES))
    options = ("--prefix-file", "prefixes")
    stop_after(2, call, *options)
    Path("prefixes").rename("moved")
    assert call(*FILES, "--prefix-file", "moved", "--resume")[0] == 0
    stop_after(2, call, "--prefix-file", "moved")
    Path("moved").write_text("a\n" * len(LINES))
    status, line = call.fault(*FILES, "--prefix-file", "moved", "--resume")
    assert (status, "begun with something else (demands.file: " in line) == (2, True)


def test_a_killed_command_is_not_resumed_with_another_input(here: Path, call: Call) -> None:
    whole = call.output(*FILES[:3], "--input", "in")
    os.mkfifo("fifo")
    program = [sys.executable, "-c", "from s2s_cli.main import main; main()"]
    command = [*program, "translate", "--run", "toy", "--input", "fifo", "--output", "out"]
    with (
        subprocess.Popen([*command, "--batch-size", "2"], stderr=subprocess.DEVNULL) as process,
        Path("fifo").open("wb", buffering=0) as pipe,
    ):
        pipe.write("\n".join(LINES).encode() + b"\n")
        began = time.monotonic()
        while not Path("out").exists() or Path("out").read_bytes().count(b"\n") < 10:
            assert process.poll() is None and time.monotonic() - began < HANGS
            time.sleep(0.05)
        process.kill()
        process.wait(HANGS)
    Path("other").write_text("\n".join(OTHER))
    status, _, err = call(*FILES[:3], "--input", "other", "--output", "out", "--resume")
    assert (status, "begun with another input" in err) == (2, True)
    assert call(*FILES, "--resume")[0] == 0
    assert Path("out").read_bytes() == whole
