"""A list of runs: the state of each by its files, whatever is damaged, and quickly."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from s2s.errors import RunError, UsageError
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.recipe.recipe import Recipe
from s2s.run import summary
from s2s.run.directory import Run
from s2s.run.summary import RunSummary, is_in_use, list_runs, summarize
from tests.commands import HANGS
from tests.places import ROOT

TIMES = "2026-11-28T{:02}:30:00.000+00:00"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(ROOT / "recipes" / "quickstart.yaml")


def event(kind: str, update: int = 0, hour: int = 1, **values: Any) -> dict[str, Any]:
    return {"time": TIMES.format(hour), "event": kind, "update": update, **values}


START = event("start", parameters=1234, seconds=0.0)
UPDATE = event("update", 50, 2, seconds=66.0, nll=1.5)
END = event("end", 90, 3, seconds=120.0, reason="all epochs are done")
EVALUATION = event("evaluation", 90, 9, split="test", scores={})
OTHERS = [
    EVALUATION,
    {"event": "average", "name": "average", "updates": [60, 90], "nll": 1.0, "scores": {}},
    {"event": "tuning", "metric": "bleu", "checkpoint": "best", "searches": []},
]
"""Events of commands that use a run."""


def write_run(root: Path, recipe: Recipe, name: str, *events: dict[str, Any], best: int = 0) -> Run:
    """A run as `s2s train` leaves it, with a log of these events."""
    folder = root / name
    (folder / "data").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    (folder / "data" / "report.json").write_text("{}")
    if events:
        lines = "".join(json.dumps(one) + "\n" for one in events)
        (folder / "metrics.jsonl").write_text(lines)
    if best:
        (folder / "checkpoints" / str(best)).mkdir(parents=True)
        index = {"last": best, "best": best, "best_score": 98.5, "kept": []}
        (folder / "checkpoints.json").write_text(json.dumps(index))
    return Run(folder)


def test_a_finished_run(tmp_path: Path, recipe: Recipe) -> None:
    run = write_run(tmp_path, recipe, "one", START, UPDATE, END, *OTHERS, best=90)
    (run.folder / "data" / "big").write_bytes(b"x" * 10_000)
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert summarize(run.folder) == RunSummary(
        name="one",
        folder=run.folder,
        state="finished",
        reason="all epochs are done",
        task="translation",
        metric="bleu",
        score=98.5,
        seconds=120.0,
        updates=90,
        parameters=1234,
        size=sum(path.stat().st_size for path in files),
        time=datetime(2026, 11, 28, 3, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("events", "state", "reason"),
    [
        ([], "prepared", ""),
        ([START, UPDATE], "interrupted", "ended after update 50 without a word"),
        ([START, event("interrupted", 60, signal=15)], "interrupted", "signal 15 at update 60"),
        ([START, event("diverged", 60, loss=1e9)], "failed", "diverged at update 60 (loss 1e+09)"),
        ([START, event("diverged", 60, loss=None)], "failed", "diverged at update 60"),
        ([START, event("failed", 9, reason="disk\nfull")], "failed", "disk full"),
        ([START, END, event("start", 90)], "interrupted", "ended after update 90"),
        *(([START, END, other], "finished", "all epochs are done") for other in OTHERS),
        ([START, event("failed", 9, reason="disk full"), *OTHERS], "failed", "disk full"),
    ],
)
def test_states(tmp_path: Path, recipe: Recipe, events: list[Any], state: str, reason: str) -> None:
    found = summarize(write_run(tmp_path, recipe, "one", *events).folder)
    assert found.state == state
    assert found.reason.startswith(reason) and bool(found.reason) == bool(reason)


def test_a_run_in_use(tmp_path: Path, recipe: Recipe) -> None:
    """The lock decides: a process that was killed leaves its number behind."""
    for name, events, state in (
        ("a", [], "preparing"),
        ("b", [START, UPDATE], "training"),
        ("c", [START, event("interrupted", 60, signal=2)], "training"),
        ("d", [START, END], "in use"),
    ):
        run = write_run(tmp_path, recipe, name, *events)
        with run.lock():
            assert is_in_use(run.folder)
            assert summarize(run.folder).state == state
        assert not is_in_use(run.folder)
        (run.folder / ".owner").write_text(str(os.getpid()))
        assert not is_in_use(run.folder)
        with run.lock():  # looking has not taken it
            pass


def test_where_the_lock_cannot_be_tried_the_process_decides(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path, recipe, "one", START)

    def refused(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1, check=True
    )
    for owner, is_used in ((str(os.getpid()), True), (gone.stdout.decode(), False), ("?", False)):
        (run.folder / ".owner").write_text(owner)
        assert is_in_use(run.folder) == is_used


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("recipe.yaml", b"\xff\xfe", "can't decode byte"),
        ("recipe.yaml", b"", "expected a recipe that s2s stored"),
        ("recipe.yaml", None, "recipe.yaml: no such file"),
        ("checkpoints.json", b"{", "expected the list of checkpoints"),
        ("checkpoints.json", b'{"last": 7, "best": 7}', "checkpoints/7 is missing"),
        ("environment.json", b'{"format": 99}', "written by a newer s2s (run format 99"),
        ("environment.json", b"[]", "expected the environment of a run"),
        ("metrics.jsonl", b"", "no event of its training"),
    ],
)
def test_a_damaged_run_says_so(
    tmp_path: Path, recipe: Recipe, file: str, content: bytes | None, reason: str
) -> None:
    run = write_run(tmp_path, recipe, "one", START, END, best=90)
    path = run.folder / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    found = summarize(run.folder)
    assert found.state == "damaged"
    assert reason in found.reason
    assert "\n" not in found.reason and str(tmp_path) not in found.reason
    assert [one.state for one in list_runs(tmp_path)] == ["damaged"]


def test_files_that_are_folders(tmp_path: Path, recipe: Recipe) -> None:
    for name in ("recipe.yaml", "metrics.jsonl", "checkpoints.json", "environment.json"):
        folder = write_run(tmp_path, recipe, name).folder
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()
    assert [one.state for one in list_runs(tmp_path)] == ["damaged"] * 4


def test_strange_events_are_no_reason_to_fail(tmp_path: Path, recipe: Recipe) -> None:
    strange = [
        {"event": "start", "parameters": "many", "seconds": [1]},
        {"event": ["update"], "update": "x"},
        {"event": "update", "update": True, "seconds": float("nan"), "time": 3},
    ]
    run = write_run(tmp_path, recipe, "one", *strange)
    with run.metrics_path.open("ab") as file:
        file.write(b"[" * 100_000 + b'\n[1]\nnull\n\xff\n{"half')
    found = summarize(run.folder)
    assert (found.seconds, found.updates, found.parameters) == (None, None, None)
    json.loads(json.dumps(found.as_json()))


def test_folders_without_a_run_are_left_out(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    assert list_runs(tmp_path) == []
    with pytest.raises(UsageError, match="no such folder; 's2s train' makes runs"):
        list_runs(tmp_path / "none")
    with pytest.raises(UsageError, match="Not a directory"):
        list_runs(tmp_path / "file")


def test_the_latest_comes_first(tmp_path: Path, recipe: Recipe) -> None:
    for name, hour in (("a", 5), ("b", 7), ("c", 6)):
        write_run(tmp_path, recipe, name, event("start", hour=hour))
    assert [one.name for one in list_runs(tmp_path)] == ["b", "c", "a"]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 16])
def test_reading_from_the_end_gives_the_same_events(
    tmp_path: Path, recipe: Recipe, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [event("update", number, text="ä" * number) for number in range(40)]
    run = write_run(tmp_path, recipe, "one", *events)
    with run.metrics_path.open("ab") as file:
        file.write(b'{"half')
    monkeypatch.setattr(summary, "CHUNK", chunk)
    assert (
        list(summary._last_events(run.metrics_path))
        == events[::-1]
        == list(run.read_events())[::-1]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="NTFS would write the zeros")
def test_a_log_is_not_read_whole(tmp_path: Path, recipe: Recipe) -> None:
    """The numbers come from both ends of a file that is larger than memory could be."""
    run = write_run(tmp_path, recipe, "one", START)
    with run.metrics_path.open("r+b") as file:
        file.seek(1 << 40)
        file.write(b"\n" + json.dumps(END).encode() + b"\n")
    found = summarize(run.folder)
    assert (found.state, found.parameters, found.seconds) == ("finished", 1234, 120.0)


def test_two_hundred_runs_take_less_than_a_second(tmp_path: Path, recipe: Recipe) -> None:
    """And nothing heavy is imported."""
    updates = [event("update", 50 * number, seconds=1.0) for number in range(400)]
    for number in range(200):
        write_run(tmp_path, recipe, f"run{number}", START, *updates, END, best=90)
    command = (
        "import sys, time; from s2s_cli.main import run; began = time.perf_counter(); "
        f"run(['runs', '--runs', {str(tmp_path)!r}]); "
        "print(time.perf_counter() - began, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=HANGS
    )
    *lines, last = done.stdout.splitlines()
    seconds, *loaded = last.split()
    assert len(lines) == 201
    assert loaded == ["False", "False"]
    if float(seconds) >= 1.0:  # a busy machine: the work itself, in the process's own time
        began = time.process_time()
        list_runs(tmp_path)
        assert time.process_time() - began < 1.0


def test_newer_formats_are_refused_by_the_same_rule(tmp_path: Path, recipe: Recipe) -> None:
    run = write_run(tmp_path, recipe, "one", START, END, best=90)
    run.environment_path.write_text('{"format": 2}')
    with pytest.raises(RunError):
        Run.open(run.folder)
    assert summarize(run.folder).state == "damaged"
