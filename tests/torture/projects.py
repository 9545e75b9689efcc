"""Projects before each command, to be disturbed again and again."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.torture.commands import command
from tests.torture.example import STEPS, Step, write_project


@dataclass(frozen=True)
class Project:
    """A project in which everything before a command is done."""

    step: Step
    folder: Path
    expected: str
    """What the command leaves behind if nothing disturbs it."""
    seconds: float
    """How long it then takes."""

    def copy(self, folder: Path) -> Path:
        """The project in another folder, which it replaces."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        return folder

    def compare(self, folder: Path) -> str:
        """Let the command end in a copy that was disturbed; what is wrong then, or nothing."""
        outcome = command(self.step.arguments, folder)
        if outcome.status != 0:
            return str(outcome)
        return "" if self.step.product(folder) == self.expected else "ends differently"


def projects(scratch: Path) -> list[Project]:
    """A project for each command."""
    found = []
    folder = scratch / "begun"
    write_project(folder)
    for step in STEPS:
        kept = scratch / f"before-{step.name}"
        shutil.copytree(folder, kept)
        outcome = command(step.arguments, folder)
        if outcome.status != 0:
            raise SystemExit(f"{step.name} fails without being disturbed: {outcome}")
        found.append(Project(step, kept, step.product(folder), outcome.seconds))
    return found
