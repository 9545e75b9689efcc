"""A small task for the commands, and ways to run them."""

import io
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from s2s_cli.main import run as command_line

RECIPE = """\
task: translation
name: spell
data:
  kind: files
  train: {source: train.x, target: train.y}
  validation: {source: validation.x, target: validation.y}
  test: {source: test.x, target: test.y}
  filters: {max_length: 12}
tokenizer: {kind: word}
model:
  embeddings: 20
  encoder: {width: 12}
  decoder: {kind: luong, width: 28}
  dropout: {embedding: 0.2, encoder: 0.2, decoder: 0.2, readout: 0.2}
train:
  epochs: 4
  batch_tokens: 120
  optimizer: {learning_rate: 1e-2}
  schedule: {kind: cosine, warmup: 200}
  precision: fp32
  average: 0.0
  best: bleu
  patience: 10
search: {kind: beam, width: 3}
metrics: [bleu, chrf]
"""
HANGS = 1500.0
"""Seconds after which a process hangs, however busy the machine is; less than pytest allows a test,
so that its process does not outlive it."""
WORDS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben")

INPUT = (
    "0 1 2\n"
    "\n"
    "  \t\n"
    "3\u20284 5\u0085\n"
    "7 7 7 7\r\n"
    "unknown words of another language\n"
    + " ".join(itertools.islice(itertools.cycle("0123456"), 90))
    + "\n5 4 3"
)
"""Eight lines, the last without a line end; two of them blank, one far too long."""


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Digits, and their names backwards."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        digits = draw.choices(range(8), k=draw.randint(2, 7))
        found.append((" ".join(map(str, digits)), " ".join(WORDS[d] for d in reversed(digits))))
    return found


def write_split(name: str, split: list[tuple[str, str]]) -> None:
    for side, suffix in enumerate(("x", "y")):
        Path(f"{name}.{suffix}").write_text("".join(f"{pair[side]}\n" for pair in split))


def write_example() -> None:
    """What a user brings, into the current folder."""
    Path("recipe.yaml").write_text(RECIPE)
    write_split("train", pairs(400, seed=1))
    # A blank source and one longer than any in training are scored like every other line.
    odd = [("   ", "null"), (" ".join("01234567" * 8), "eins zwei")]
    write_split("validation", [*pairs(30, seed=2), *odd])
    write_split("test", pairs(40, seed=3))
    Path("input.txt").write_bytes(INPUT.encode())


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """A command as the README writes it."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": places, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, shell=True, env=environment, capture_output=True, check=False, timeout=HANGS
    )


class Call:
    """Runs commands in this process: importing torch takes seconds."""

    def __init__(self, capfdbinary, monkeypatch: pytest.MonkeyPatch) -> None:
        self.captured = capfdbinary
        self.patch = monkeypatch

    def __call__(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """Exit status, stdout and stderr."""
        self.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = command_line(arguments)
        sys.stdout.flush()
        found = self.captured.readouterr()
        return status, found.out, found.err.decode()

    def output(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What a command that goes well prints."""
        status, out, err = self(*arguments, stdin=stdin)
        assert status == 0, err
        return out

    def fault(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        """Exit status and the line that says what is wrong; nothing is on stdout."""
        status, out, err = self(*arguments, stdin=stdin)
        assert out == b""
        notes = ("using the newest run", "outputs were cut at the longest", "s2s: warning: ")
        (line,) = (line for line in err.splitlines() if not any(note in line for note in notes))
        assert line.startswith("s2s: error: ")
        return status, line.removeprefix("s2s: error: ")


@pytest.fixture
def call(capfdbinary, monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(capfdbinary, monkeypatch)
