"""SIGKILL at random instants: the same command goes on from what is left, to the same end bit for
bit."""

import random
from pathlib import Path

from tests.torture.commands import command
from tests.torture.counts import Counts
from tests.torture.example import RUN
from tests.torture.projects import Project

MOST_KILLS = 12
"""Kills of one command before it may end."""


COLUMNS = ("SIGKILL", "ends compared")
"""Processes that SIGKILL ended; ends that were reached and compared."""


def kill(project: Project, scratch: Path, seed: int, counts: Counts) -> None:
    """Kill a command again and again, let it end, and compare."""
    step = project.step
    folder = project.copy(scratch / "killed")
    draw = random.Random(f"{step.name} {seed}")
    for _ in range(draw.randint(1, MOST_KILLS)):
        instant = draw.uniform(0.0, 1.1 * project.seconds)
        outcome = command(step.arguments, folder, kill_after=instant)
        if outcome.status >= 0:
            if outcome.status != 0:
                counts.failures.append(f"{step.name}, seed {seed}: {outcome}")
            break
        counts.numbers["SIGKILL"] += 1
    counts.numbers["ends compared"] += 1
    if wrong := project.compare(folder):
        counts.failures.append(f"{step.name}, seed {seed}: {wrong}")
    left = list((folder / RUN).rglob(".tmp-*"))
    if left:
        counts.failures.append(f"{step.name}, seed {seed}: leaves {left[0].name} behind")
