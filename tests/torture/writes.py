"""Writes that fail: the disk is full at the k-th file that is opened, renamed or made, or no file
grows beyond so many bytes. A command ends with one clear line, and succeeds once there is space."""

import errno
import os
import random
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.commands import command
from tests.torture.counts import Counts
from tests.torture.projects import Project

CHANGES = ("os.rename", "os.mkdir", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


COLUMNS = ("full disks", "not met")
"""Commands on a disk that gets full; those of them that ended well before it was."""


def fail(project: Project, scratch: Path, seed: int, counts: Counts) -> None:
    """Run a command on a disk that is full, then on one that is not, and compare."""
    step = project.step
    folder = project.copy(scratch / "full")
    draw = random.Random(f"{step.name} {seed}")
    if draw.random() < 0.7:
        kind, number = "change", draw.randint(1, 40)
        before = partial(_fail_from, number, folder)
    else:
        kind, number = "bytes", int(10 ** draw.uniform(0.5, 5.5))
        before = partial(_limit_files, number)
    what = f"{step.name}, {kind} {number}"
    outcome = command(step.arguments, folder, before=before)
    counts.numbers["full disks"] += 1
    counts.numbers["not met"] += outcome.status == 0
    if not outcome.is_clear:
        counts.failures.append(f"{what}: {outcome}")
    if wrong := project.compare(folder):
        counts.failures.append(f"{what}, with space again: {wrong}")


def _fail_from(number: int, folder: Path) -> None:
    """From the `number`-th change of a folder or file below `folder` on, the disk is full."""
    done = 0
    inside = folder.absolute()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if not Path(os.fsdecode(path)).absolute().is_relative_to(inside):
            return
        done += 1
        if done >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))

    sys.addaudithook(hook)


def _limit_files(number: int) -> None:
    """No file grows beyond `number` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
