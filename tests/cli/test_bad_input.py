"""Input of every kind through a real model: a line for a line, and never a traceback."""

import random
from pathlib import Path

import pytest

from tests.commands import Call, call
from tests.inference.test_resume import here, run_folder

__all__ = ["call", "here", "run_folder"]

BAD = {
    "empty": b"",
    "no line end at the end": b"a b\nb",
    "blank lines only": b"\n \n\t\n" * 50,
    "unknown words only": "ä ☃☃ \u202e\n☃\n".encode() * 3,
    "NUL": b"\0\na \0 b\n\0\0\0\n",
    "CRLF": b"a b\r\nb\r\n\r\n",
    "garbage": random.Random(1).randbytes(20_000),
    "one long line": b"a b c " * 700 + b"\nb\n",
    "one long word": b"a" * 9000 + b"\nb\n",
}


@pytest.mark.parametrize("search", ["--search greedy", "--beam 20 --nbest 1"])
@pytest.mark.parametrize("name", BAD)
def test_a_line_for_a_line(here: Path, call: Call, name: str, search: str) -> None:
    text = BAD[name]
    if "--beam" in search and len(text) > 10_000:
        pytest.skip("takes seconds, and greedy search has seen it")
    Path("in").write_bytes(text)
    out = call.output("translate", "--run", "toy", "--input", "in", *search.split())
    assert out.count(b"\n") == text.count(b"\n") + (not text.endswith(b"\n") and text != b"")


def test_a_beam_wider_than_the_vocabulary(here: Path, call: Call) -> None:
    Path("in").write_bytes(b"a\n\n" + b"b c " * 30)
    wide = ("--beam", "1000", "--nbest", "1000", "--max-ratio", "0.001", "--max-offset", "2")
    rows = call.output("translate", "--run", "toy", "--input", "in", *wide).splitlines()
    texts = [row.split(b"\t")[6] for row in rows if row.startswith(b"1\t")]
    # UNK, five words: 1 + 6 + 36 outputs end within three predictions, and 216 are cut.
    assert len(texts) == len(rows) - len(texts) - 1 == 1 + 6 + 36 + 216


@pytest.mark.parametrize("place", ["nowhere/out", "."])
def test_an_output_that_cannot_be_written(here: Path, call: Call, place: str) -> None:
    status, line = call.fault("translate", "--run", "toy", "--input", "in", "--output", place)
    assert status == 2
    assert line.startswith(f"{place}: cannot write it: ")
