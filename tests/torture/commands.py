"""Commands in processes of their own, without the seconds that importing PyTorch takes.

This process imports everything once and computes nothing; each command is a fork of it.
"""

import importlib
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ADDRESSES = 8 << 30
"""Bytes of address space that a command may take beyond what this process has."""

LIMIT = 120.0
"""Seconds of processor time after which a command counts as hanging."""

BUG = "bug of s2s"
"""What the command line says about an error that nobody foresaw."""


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    """Exit status; the negative number of the signal that ended it."""
    out: bytes
    err: str
    seconds: float

    @property
    def is_clear(self) -> bool:
        """Whether it did its work or said in words why not: no crash, no hang, no traceback."""
        return self.status in (0, 1, 2) and BUG not in self.err and "Traceback" not in self.err

    def __str__(self) -> str:
        """The status, and what was said last."""
        lines = self.err.strip().splitlines() or ["ends without a word"]
        return f"status {self.status}: {lines[-1][:300]}"


MODULES = (
    "s2s_cli.main",
    "s2s.data.preparation.prepare",
    "s2s.pipeline",
    "s2s.pipeline.averaging",
    "s2s.pipeline.evaluation",
    "s2s.pipeline.translation",
    "s2s.training.trainer",
)
"""What commands import late."""

MARK = "\x00ended "
"""Written on stderr after each of several commands, with its exit status."""


class Work(NamedTuple):
    """One of several commands of a process."""

    arguments: tuple[str, ...]
    before: Callable[[], None]
    """Makes its input."""
    after: Callable[[], None]
    """Removes it."""
    wrong: Callable[[], str] = lambda: ""
    """What is wrong with what a command that went well has left; empty if nothing is."""


def prepare() -> None:
    """Import what commands use, and limit each to one thread."""
    import torch

    from s2s.recipe.load import load_recipe
    from tests.places import ROOT

    for name in MODULES:
        importlib.import_module(name)
    torch.set_num_threads(1)
    load_recipe(ROOT / "recipes" / "quickstart.yaml")  # builds the schema


def command(
    arguments: tuple[str, ...],
    folder: Path,
    *,
    kill_after: float | None = None,
    before: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run `s2s ARGUMENTS` in `folder`; SIGKILL after so many seconds. `before` runs in the new
    process, to make its world worse."""

    def be() -> int:
        from s2s.messages import prepare_streams
        from s2s_cli.main import run

        prepare_streams()  # as the command does: a full stderr ends nothing
        before()
        return run(arguments)

    return forked(be, folder, kill_after)


def commands(works: Sequence[Work], folder: Path) -> list[Outcome]:
    """Run commands in `folder` in one process; a new one goes on after one that dies."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(works):
        left = works[len(outcomes) :]
        process = forked(lambda left=left: _be_several(left), folder)
        *ended, rest = process.err.split(MARK)
        texts, statuses = [], []
        for number, part in enumerate([*ended, rest]):
            status, _, text = part.partition("\n") if number else ("", "", part)
            statuses += [int(status)] if number else []
            texts.append(text)
        seconds = process.seconds / max(1, len(statuses))
        outcomes += [
            Outcome(status, b"", text, seconds)
            for status, text in zip(statuses, texts, strict=False)
        ]
        if len(statuses) < len(left):  # it died of the next one
            outcomes.append(Outcome(process.status or 70, b"", texts[-1], process.seconds))
            left[len(statuses)].after()
    return outcomes


def _be_several(works: Sequence[Work]) -> int:
    from s2s_cli.main import run

    for work in works:
        work.before()
        status = run(work.arguments)
        sys.stdout.flush()
        if status == 0 and (wrong := work.wrong()):
            sys.stderr.write(f"{BUG}: {wrong}\n")
        work.after()
        sys.stderr.write(f"{MARK}{status}\n")
        sys.stderr.flush()
    return 0


def forked(be: Callable[[], int], folder: Path, kill_after: float | None = None) -> Outcome:
    """The outcome of `be` in a process of its own, with limits, in `folder`."""
    files = (folder / ".stdout", folder / ".stderr")
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        _child(be, folder, files)
    status = _wait(child, kill_after)
    seconds = time.perf_counter() - began
    out = files[0].read_bytes() if files[0].exists() else b""
    err = files[1].read_text(encoding="utf-8", errors="replace") if files[1].exists() else ""
    for file in files:
        file.unlink(missing_ok=True)
    return Outcome(status, out, err, seconds)


def _child(be: Callable[[], int], folder: Path, files: tuple[Path, Path]) -> None:
    """Be a process with limits; never returns."""
    status = 70
    try:
        os.setsid()
        os.chdir(folder)
        for number, name in enumerate((os.devnull, *files)):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            opened = os.open(name, flags)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT), int(LIMIT) + 5))
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESSES, taken + ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = be()
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or 1  # stdout is full, say
    except BaseException:
        traceback.print_exc()
        status = 71
    finally:
        os._exit(status)


def _wait(child: int, kill_after: float | None) -> int:
    """The exit status of a child, or the negative number of its signal."""
    watched = os.pidfd_open(child)
    try:
        if kill_after is not None:
            ended, _, _ = select.select([watched], [], [], kill_after)
            if not ended:
                try:
                    os.killpg(child, signal.SIGKILL)
                except ProcessLookupError:  # it has no group of its own yet
                    os.kill(child, signal.SIGKILL)
        select.select([watched], [], [])
    finally:
        os.close(watched)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
