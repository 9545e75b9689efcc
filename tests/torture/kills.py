"""SIGKILL at random instants: the same command goes on from what is left, to the same end bit for
bit."""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.commands import command
from tests.torture.example import RUN, STEPS, Step, write_project

MOST_KILLS = 12
"""Kills of one command before it may end."""


@dataclass
class Kills:
    """Counts of one command."""

    step: str
    kills: int = 0
    """Processes that SIGKILL ended."""
    trials: int = 0
    """Ends reached, and compared."""
    failures: list[str] = field(default_factory=list)


def projects(scratch: Path) -> dict[str, tuple[Path, str, float]]:
    """For each step a project in which everything before it is done, what the step leaves behind
    there without kills, and how many seconds it takes."""
    found = {}
    folder = scratch / "begun"
    write_project(folder)
    for step in STEPS:
        kept = scratch / f"before-{step.name}"
        shutil.copytree(folder, kept)
        outcome = command(step.arguments, folder)
        if outcome.status != 0:
            raise SystemExit(f"{step.name} fails without being disturbed: {outcome.err}")
        found[step.name] = (kept, step.product(folder), outcome.seconds)
    return found


def kill(
    step: Step, place: tuple[Path, str, float], scratch: Path, seed: int, counts: Kills
) -> None:
    """Kill a command again and again, let it end, and compare."""
    kept, expected, seconds = place
    folder = scratch / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    draw = random.Random(f"{step.name} {seed}")
    for _ in range(draw.randint(1, MOST_KILLS)):
        outcome = command(step.arguments, folder, kill_after=draw.uniform(0.0, 1.1 * seconds))
        if outcome.status >= 0:
            if outcome.status != 0:
                counts.failures.append(f"{step.name}, seed {seed}: {_last_line(outcome.err)}")
            break
        counts.kills += 1
    outcome = command(step.arguments, folder)
    counts.trials += 1
    if outcome.status != 0:
        counts.failures.append(f"{step.name}, seed {seed}: {_last_line(outcome.err)}")
    elif step.product(folder) != expected:
        counts.failures.append(f"{step.name}, seed {seed}: ends differently")
    left = list((folder / RUN).rglob(".tmp-*"))
    if left:
        counts.failures.append(f"{step.name}, seed {seed}: leaves {left[0].name} behind")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "ends without a word"
