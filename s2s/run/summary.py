"""What a list of runs shows of each.

It is read from the ends of files: no recipe is parsed and no tensor loaded, so that hundreds of
runs take less than a second.

A damaged run is a summary that says so, never an exception.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from s2s.errors import RunError, UsageError
from s2s.run.checkpoints import CheckpointIndex, Checkpoints
from s2s.run.environment import check_format
from s2s.run.folder_check import check_files
from s2s.run.history import LONGEST_EVENT, Event, parse_event

State = Literal[
    "new",
    "preparing",
    "prepared",
    "training",
    "in use",
    "interrupted",
    "finished",
    "failed",
    "damaged",
]

CHUNK = 1 << 16
"""Bytes that are read of an event log at a time."""

MOST_READ = 1 << 26
"""Bytes at the end of an event log among which the last event is; a damaged one may have none."""

OTHER_EVENTS = frozenset({"evaluation", "average", "tuning"})
"""Events of commands that use a run: they say nothing about its training."""

SIGNS = ("recipe.yaml", "checkpoints.json", "metrics.jsonl", "environment.json")
"""Files by one of which a folder is known as a run."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run in a list. What is not known is None."""

    name: str
    folder: Path
    state: State
    reason: str = ""
    """Why it is in this state, or how far it is."""
    task: str | None = None
    metric: str | None = None
    """The value that chooses the best checkpoint, such as `bleu`."""
    score: float | None = None
    """Its value at the best validation so far."""
    seconds: float | None = None
    """Time spent in training, validations included."""
    updates: int | None = None
    parameters: int | None = None
    size: int = 0
    """Bytes of all files."""
    time: datetime | None = None
    """The last event of its training, or the last change of its recipe."""

    def as_json(self) -> dict[str, Any]:
        """The summary in JSON; the time in ISO 8601."""
        time = None if self.time is None else self.time.isoformat(timespec="seconds")
        return {**asdict(self), "folder": str(self.folder), "time": time}


def list_runs(root: Path) -> list[RunSummary]:
    """The runs in a folder, the latest first. Raises UsageError if there is no such folder."""
    try:
        folders = [Path(entry.path) for entry in os.scandir(root) if entry.is_dir()]
    except OSError as error:
        reason = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        advice = "'s2s train' makes runs, --runs names another folder"
        raise UsageError(f"{root}: {reason}; {advice}") from None
    found = [summarize(one) for one in folders if any((one / sign).exists() for sign in SIGNS)]
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(sorted(found, key=lambda one: one.name), key=lambda one: one.time or oldest)[::-1]


def summarize(folder: Path) -> RunSummary:
    """The summary of the run in a folder."""
    common: dict[str, Any] = {"name": folder.resolve().name, "folder": folder}
    recipe = folder / "recipe.yaml"
    try:
        common["size"] = _size(folder)
        check_files(folder, str(folder), any_size=("metrics.jsonl",))
        common["time"] = datetime.fromtimestamp(recipe.stat().st_mtime, UTC)
        fields = _recipe_fields(recipe)
        common["task"] = fields["task"]
        check_format(folder / "environment.json")
        index = _index(folder)
        log = folder / "metrics.jsonl"
        last = next((e for e in _last_events(log) if e.get("event") not in OTHER_EVENTS), None)
        common |= _progress(log, last) | _score(fields["best"], index)
        state, reason = _state(folder, last, index)
        return RunSummary(**common, state=state, reason=reason)
    except OSError as error:
        what = f"{Path(error.filename or folder).name}: {(error.strerror or str(error)).lower()}"
        return RunSummary(**common, state="damaged", reason=what)
    except (RunError, ValueError) as error:
        what = " ".join(str(error).split()).removeprefix(str(folder)).lstrip(f"{os.sep}: ")
        return RunSummary(**common, state="damaged", reason=what)


def is_in_use(folder: Path) -> bool:
    """Whether a process holds the lock of the run in this folder."""
    owner = folder / ".owner"
    if not owner.exists():  # most runs: nothing is locked, not even for an instant
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / ".lock").acquire(blocking=False):
            return False  # a process that was killed has left its number
    except Timeout:
        return True
    except OSError:  # a folder that one may only read
        return _is_alive(owner)


def _is_alive(owner: Path) -> bool:
    import psutil

    try:
        return bool(psutil.pid_exists(int(owner.read_text(encoding="ascii"))))
    except (OSError, ValueError):
        return False


def _recipe_fields(path: Path) -> dict[str, str]:
    """`task` and `train.best` of a recipe as `dump_recipe` writes it.

    Parsing YAML would take ten times as long as all the rest of a summary.
    """
    text = path.read_bytes().decode("utf-8")
    task = re.search(r"^task: *([a-z]+) *$", text, re.MULTILINE)
    if task is None:
        raise ValueError("recipe.yaml: expected a recipe that s2s stored, found something else")
    section = re.search(r"^train:\n((?:[ #].*\n|\n)*)", text, re.MULTILINE)
    best = re.search(r"^  best: *(\w+)", section[1] if section else "", re.MULTILINE)
    return {"task": task[1], "best": best[1] if best else "bleu"}


def _index(folder: Path) -> CheckpointIndex:
    """The checkpoints. Raises RunError if the list or a checkpoint in it is damaged."""
    checkpoints = Checkpoints(folder)
    index = checkpoints.index()
    for step in (index.last, index.best):
        if step is not None and not (checkpoints.folder / str(step)).is_dir():
            raise RunError(f"checkpoints/{step} is missing; restore it, or s2s train --restart")
    return index


def _score(metric: str, index: CheckpointIndex) -> dict[str, Any]:
    """The best score; that of a loss or an error rate is negated in the index."""
    score = as_number(index.best_score)
    return {"metric": metric, "score": None if score is None else abs(score)}


def _progress(log: Path, last: Event | None) -> dict[str, Any]:
    """Time, updates, parameters and date of a training that has begun."""
    if last is None:
        return {}
    start = next((e for e in _first_events(log) if e.get("event") == "start"), {})
    found: dict[str, Any] = {
        "seconds": as_number(last.get("seconds")),
        "updates": _whole(last.get("update")),
        "parameters": _whole(start.get("parameters")),
    }
    with suppress(TypeError, ValueError):
        time = datetime.fromisoformat(last.get("time"))  # type: ignore[arg-type]
        found["time"] = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return found


def _state(folder: Path, last: Event | None, index: CheckpointIndex) -> tuple[State, str]:
    is_used = is_in_use(folder)
    if last is not None:
        return _state_in_use(last) if is_used else _state_at_rest(last)
    if is_used:
        return "preparing", ""
    if index.last is not None:
        return "damaged", "metrics.jsonl: no event of its training"
    return ("prepared" if (folder / "data" / "report.json").exists() else "new"), ""


def _state_in_use(last: Event) -> tuple[State, str]:
    """The state of a run whose lock is held, by its last event."""
    if last.get("event") == "end":  # averaged, or prepared for more epochs
        return "in use", f"trained: {last.get('reason')}"
    return "training", f"update {last.get('update')}"


def _state_at_rest(last: Event) -> tuple[State, str]:
    """The state of a run that nobody writes to, by its last event."""
    at = f"update {last.get('update')}"
    match last.get("event"):
        case "end":
            return "finished", str(last.get("reason"))
        case "interrupted":
            return "interrupted", f"signal {last.get('signal')} at {at}"
        case "diverged":
            loss = as_number(last.get("loss"))
            return "failed", f"diverged at {at}" + ("" if loss is None else f" (loss {loss:.3g})")
        case "failed":
            return "failed", " ".join(str(last.get("reason")).split())
    return "interrupted", f"ended after {at} without a word; s2s train resumes it"


def _size(folder: Path) -> int:
    """Bytes of all files in a folder; links are not followed."""
    total = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # a training replaces its files
            if entry.is_dir(follow_symlinks=False):
                total += _size(Path(entry.path))
            else:
                total += entry.stat(follow_symlinks=False).st_size
    return total


def _first_events(path: Path) -> Iterator[Event]:
    """The events among the first lines of a log."""
    with path.open("rb") as file:
        yield from _events(file.read(CHUNK).split(b"\n"))


def _last_events(path: Path) -> Iterator[Event]:
    """The events of a log, the last first, among its last `MOST_READ` bytes; a missing log has
    none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        place, rest = file.seek(0, os.SEEK_END), b""
        first = max(0, place - MOST_READ)
        while place > first:
            size = min(CHUNK, place)
            place -= size
            file.seek(place)
            rest, *lines = (file.read(size) + rest[: LONGEST_EVENT + 1]).split(b"\n")
            yield from _events(reversed(lines))
        yield from _events([rest])


def _events(lines: Any) -> Iterator[Event]:
    return (event for line in lines if (event := parse_event(line)) is not None)


def as_number(value: object) -> float | None:
    """A finite number of an event; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
