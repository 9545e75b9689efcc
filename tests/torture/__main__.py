"""Kills, full disks, damaged and hostile input, at length: `make torture`.

    python -m tests.torture [--seconds 120] [--seed 1] [--only guided] [--report FILE]

- kills: SIGKILL at random instants of each command; the end equals that of an undisturbed one
- writes: a full disk at a random write; one clear line, and the same end once there is space
- inputs: damaged files, hostile lines and recipes; the work done, or one clear line
- guided: damaged files for the readers alone, those that reach new lines of s2s changed further

Every trial is a function of the seed but for the instant at which a kill meets a process. The exit
status is 1 if anything failed.
"""

import argparse
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import count
from pathlib import Path

from tests.torture.commands import prepare
from tests.torture.counts import Counts, table
from tests.torture.feature_targets import FEATURE_TARGETS
from tests.torture.fuzz import BATCH, KINDS, fuzz
from tests.torture.fuzz import COLUMNS as INPUTS
from tests.torture.guided import COLUMNS as GUIDED
from tests.torture.guided import begin, search
from tests.torture.kills import COLUMNS as KILLS
from tests.torture.kills import kill
from tests.torture.model_targets import MODEL_TARGETS
from tests.torture.projects import Project, projects
from tests.torture.run_targets import RUN_TARGETS
from tests.torture.serve_targets import SERVE_TARGETS
from tests.torture.text_targets import TEXT_TARGETS
from tests.torture.world import world
from tests.torture.writes import COLUMNS as WRITES
from tests.torture.writes import fail

SHARES = {"kills": 0.42, "writes": 0.13, "inputs": 0.25, "guided": 0.2}
"""Shares of the time."""

WORLD, KEPT = "world", "inputs"
"""Folders: of files to damage, which two parts share; of inputs of `guided` that failed."""


TARGETS = (*TEXT_TARGETS, *RUN_TARGETS, *MODEL_TARGETS, *FEATURE_TARGETS, *SERVE_TARGETS)
"""What `guided` reads."""


def _rounds(seconds: float, seed: int) -> Iterator[int]:
    """Seeds, until the time is over; at least one."""
    end = time.monotonic() + seconds
    yield seed
    while time.monotonic() < end:
        seed += 1
        yield seed


Result = tuple[list[str], list[str]]
"""The lines of a table, and failures."""


def _disturbed(
    disturb: Callable[[Project, Path, int, Counts], None],
    columns: Sequence[str],
    seconds: float,
    seed: int,
    scratch: Path,
) -> Result:
    """Disturb the commands in turn."""
    all_projects = projects(scratch)
    all_counts = [Counts(project.step.name) for project in all_projects]
    for each in _rounds(seconds, seed):
        turn = each % len(all_projects)
        disturb(all_projects[turn], scratch, each, all_counts[turn])
    return _result("command", columns, all_counts)


def _inputs(seconds: float, seed: int, scratch: Path) -> Result:
    folder = _world(scratch.parent / WORLD)
    all_counts = [Counts(name) for name in KINDS]
    end = time.monotonic() + seconds
    for turn in count():
        for counts in all_counts:
            if turn and time.monotonic() >= end:  # each kind has had its first turn
                return _result("input", INPUTS, all_counts)
            first = seed * 1_000_000 + turn * BATCH
            fuzz(counts.name, range(first, first + KINDS[counts.name].batch), folder, counts)
    raise AssertionError("counting never ends")


def _guided(seconds: float, seed: int, scratch: Path) -> Result:
    folder = _world(scratch.parent / WORLD)
    searches = {target.name: begin(target, folder) for target in TARGETS}
    end = time.monotonic() + seconds
    while True:
        for found in searches.values():
            search(found, folder, seed, scratch / KEPT)
        if time.monotonic() >= end:
            return _result("file", GUIDED, [found.counts for found in searches.values()])


@cache
def _world(scratch: Path) -> Path:
    """The folder of files to damage, made once."""
    scratch.mkdir()
    return world(scratch)


def _result(first: str, columns: Sequence[str], all_counts: Sequence[Counts]) -> Result:
    failures = [line for counts in all_counts for line in counts.failures]
    return table(first, columns, all_counts), failures


MOST_SHOWN = 10
"""Failures of a kind that are printed."""

PARTS: dict[str, Callable[[float, int, Path], Result]] = {
    "kills": partial(_disturbed, kill, KILLS),
    "writes": partial(_disturbed, fail, WRITES),
    "inputs": _inputs,
    "guided": _guided,
}


def _first(failures: list[str]) -> list[str]:
    """The first few failures of each kind."""
    shown: dict[str, list[str]] = {}
    for line in failures:
        shown.setdefault(line.partition(",")[0], []).append(line)
    return [line for lines in shown.values() for line in lines[:MOST_SHOWN]]


def _keep_inputs(folder: Path, report: Path | None) -> None:
    """Keep the inputs that failed, beside the report."""
    if not folder.exists():
        return
    kept = Path(tempfile.mkdtemp(prefix="torture-inputs-"))
    if report is not None:
        kept = report.with_name(f"{report.stem}-inputs")
    shutil.copytree(folder, kept, dirs_exist_ok=True)
    print(f"inputs that failed: {kept}")


def main() -> int:
    """Run the parts; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    if platform.system() != "Linux":
        print("skipped: it forks processes and limits them as Linux does")
        return 0
    prepare()
    chosen = options.only or list(PARTS)
    total = sum(SHARES[name] for name in chosen)
    tables, failures = [], []
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        for name in chosen:
            began = time.monotonic()
            folder = Path(scratch, name)
            folder.mkdir()
            seconds = options.seconds * SHARES[name] / total
            rows, failed = PARTS[name](seconds, options.seed, folder)
            tables += [*rows, ""]
            failures += failed
            print("\n".join([f"{name}, {time.monotonic() - began:.0f} s", *rows, ""]), flush=True)
        _keep_inputs(Path(scratch, "guided", KEPT), options.report)
    for line in _first(failures):
        print(f"FAILED {line}")
    print(f"{len(failures)} failures (seed {options.seed})")
    if options.report is not None:
        options.report.write_text("\n".join([*tables, *(f"FAILED {f}" for f in failures)]) + "\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
