"""What killed commands leave in a run is gone after the next command, and nothing else is."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2s.files import temporary_beside
from s2s.run.directory import Run
from tests.commands import HANGS, Call, call, write_example

__all__ = ["call"]

HANGING = """
import sys, time
from pathlib import Path

place, *arguments = sys.argv[1:]

def hanging(move):
    def moved(self, target):
        if Path(target).match(place):
            print("here", flush=True)
            time.sleep(3600)
        return move(self, target)
    return moved

Path.replace, Path.rename = hanging(Path.replace), hanging(Path.rename)
from s2s_cli.main import run
run(arguments)
"""
"""A command that stops where it would give a file its name."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_example()
    yield


@contextmanager
def stopped(place: str, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", HANGING, place, *command]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line == "here\n", process.communicate(timeout=HANGS)
            yield process
        finally:
            process.kill()
            process.wait(HANGS)


def left() -> list[str]:
    return sorted(path.name for path in Path("runs").rglob(".tmp-*"))


TRAIN = ["train", "recipe.yaml", "--set", "train.epochs=1"]
KILLS = [
    ("tokenizer", ["prep"], ["prep"]),
    ("data", ["prep"], TRAIN),
    ("environment.json", TRAIN, TRAIN),
    ("checkpoints.json", TRAIN, TRAIN),
    ("outputs/*", ["bleu"], ["bleu"]),
    ("outputs/*", ["bleu"], [*TRAIN[:3], "train.patience=9", "--set", "train.epochs=1"]),
]


@pytest.mark.parametrize(("place", "killed", "after"), KILLS)
def test_a_kill_leaves_nothing_for_long(
    call: Call,
    place: str,
    killed: list[str],
    after: list[str],
) -> None:
    if killed == ["bleu"]:
        assert call(*TRAIN)[0] == 0
    with stopped(place, killed) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(HANGS)
    assert left()
    status, _, err = call(*after)
    assert status == 0, err
    assert left() == []


def test_what_another_process_is_writing_stays(call: Call) -> None:
    assert call(*TRAIN)[0] == 0
    with stopped("outputs/*", ["bleu"]):
        (writing,) = left()
        assert call(*TRAIN[:3], "train.patience=9", "--set", "train.epochs=1")[0] == 0
        assert call("bleu", "--search", "greedy")[0] == 0
        assert left() == [writing]
    assert call("bleu", "--search", "greedy")[0] == 0
    assert left() == []


def test_only_temporary_files_go(tmp_path: Path) -> None:
    write_example()
    folder = Path("runs/spell")
    folder.mkdir(parents=True)
    for name in ("notes.tmp", ".tmp", "outputs/mine.txt", ".hidden", "features/x.arrow"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    before = sorted(path for path in folder.rglob("*"))
    own = temporary_beside(folder / "features" / "y.arrow")  # which this process may be writing
    for rubbish in (own, folder / ".tmp-data-12345678", folder / "outputs" / ".tmp-x-12345678"):
        rubbish.mkdir()
        (rubbish / "half").write_text("")
    with Run(folder).lock():
        there = {path for path in folder.rglob("*") if path.name not in (".lock", ".owner")}
    assert sorted(there) == sorted([*before, own, own / "half"])
