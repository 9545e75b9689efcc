"""A folder with all that is damaged: runs, unfinished work, a model file, features."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.torture.commands import command
from tests.torture.example import RUN, write_captions, write_project

BEGUN = ("--set", "name=begun", "--set", "train.schedule={kind: inverse_sqrt, warmup: 20}")
"""What a run trains with that goes on with more epochs."""


RESUMED = ("translate", "--run", "spell", "--input", "twenty", "--output", "half", "--resume")
RESUMED += ("--scores", "--batch-size", "4")

SWEEP = ("sweep", "captions.yaml", "--set", "seed=1,2")
SWEEP += ("--set", "data.validation={table: captions.jsonl}")


def world(scratch: Path) -> Path:
    """A folder with trained runs, a model file and features, for all kinds."""
    folder = scratch / "fuzzed"
    write_project(folder)
    write_captions(folder)
    (folder / "few").write_text("0 1 2\n\n3 4 5 6 7\n")
    (folder / "ids").write_text("0.jpg\n1.jpg\nnone.jpg\n")
    pieces = "tokenizer={kind: unigram, vocabulary: 40}"
    for arguments in (
        ("prep", "--set", "name=stored"),
        ("train", "--set", "train.epochs=1"),
        ("train", "--set", "train.epochs=1", "--set", "name=pieces", "--set", pieces),
        ("train", "captions.yaml"),
        ("export", "spell", "--output", "spell.s2s"),
        ("shortlist", "--run", "spell"),
        ("train", *BEGUN, "--set", "train.epochs=1"),
        SWEEP,
    ):
        outcome = command(arguments, folder)
        if outcome.status != 0:
            raise SystemExit(f"{arguments} fails without being disturbed: {outcome}")
    shutil.copytree(folder / RUN.parent / "stored", folder / "stored")
    shutil.copytree(folder / RUN.parent / "begun", folder / "begun")
    shutil.copytree(folder / RUN.parent / "cap", folder / "chosen")
    (folder / "begun/trackers.json").write_text('{"wandb": "abc", "mlflow": 7}')
    _begin_note(folder)
    _begin_sweep(folder)
    return folder


def _begin_note(folder: Path) -> None:
    """Leave a part of an output and its note, as a command that is killed leaves them, and check
    that the same command ends what is undamaged."""

    def kill_at_note() -> None:
        from s2s.inference import input_record

        input_record.SECONDS = 0.0  # a row for each window of lines

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "os.remove" and os.fsdecode(arguments[0]).endswith("half.resume"):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    (folder / "twenty").write_text("".join((folder / "input").read_text().splitlines(True)[:20]))
    outcome = command(RESUMED, folder, before=kill_at_note)
    whole = (folder / "half").read_bytes()
    if outcome.status != -signal.SIGKILL or whole.count(b"\n") != 20:
        raise SystemExit(f"the note was not to be deleted: {outcome}")
    (folder / "whole").write_bytes(whole)
    (folder / "half").write_bytes(b"".join(whole.splitlines(True)[:7]) + b"8\t1\tbro")
    for name in ("half", "half.resume"):
        shutil.copy(folder / name, folder / name.replace("half", "noted"))
    outcome = command(RESUMED, folder)
    is_whole = (folder / "half").read_bytes() == whole
    if outcome.status != 0 or "4 lines exist" not in outcome.err or not is_whole:
        raise SystemExit(f"an undamaged note is not gone on with: {outcome}")


def _begin_sweep(folder: Path) -> None:
    """A sweep of which one setting is finished."""
    runs = folder / RUN.parent
    shutil.rmtree(runs / "cap-seed-2")
    (folder / "sweep").mkdir()
    for path in (*runs.glob("*seed-1"), *runs.glob("*.sweep.json")):
        shutil.move(path, folder / "sweep" / path.name)
    if len(list((folder / "sweep").iterdir())) != 2:
        raise SystemExit("a sweep did not leave its choices and the run of its first setting")
