"""Writes that fail: the disk is full at the k-th file that is opened, renamed or made, or no file
grows beyond so many bytes. A command ends with one clear line, and succeeds once there is space."""

import errno
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.commands import command
from tests.torture.example import Step

CHANGES = ("os.rename", "os.mkdir", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Writes:
    """Counts of one command."""

    step: str
    full: int = 0
    """Commands that met a full disk."""
    survived: int = 0
    """Those of them that ended well all the same."""
    failures: list[str] = field(default_factory=list)


def fail(
    step: Step, place: tuple[Path, str, float], scratch: Path, seed: int, counts: Writes
) -> None:
    """Run a command on a disk that is full, then on one that is not, and compare."""
    kept, expected, _ = place
    folder = scratch / "full"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    draw = random.Random(f"{step.name} {seed}")
    before: Callable[[], None]
    if draw.random() < 0.7:
        kind, number = "change", draw.randint(1, 40)
        before = lambda: _fail_from(number, folder)  # noqa: E731
    else:
        kind, number = "bytes", int(10 ** draw.uniform(0.5, 5.5))
        before = lambda: _limit_files(number)  # noqa: E731
    what = f"{step.name}, {kind} {number}"
    outcome = command(step.arguments, folder, before=before)
    counts.full += 1
    counts.survived += outcome.status == 0
    if not outcome.is_clear:
        last = (outcome.err.strip().splitlines() or ["ends without a word"])[-1]
        counts.failures.append(f"{what}: status {outcome.status}: {last}")
    outcome = command(step.arguments, folder)
    if outcome.status != 0:
        counts.failures.append(f"{what}, with space again: {outcome.err.strip()[-300:]}")
    elif step.product(folder) != expected:
        counts.failures.append(f"{what}, with space again: ends differently")


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
