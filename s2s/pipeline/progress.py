"""Progress of long work on stderr: bars on a terminal, a few plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from s2s.messages import is_quiet, printable, write_line

PLAIN_SECONDS = 10.0
"""Minimum seconds between two plain lines."""

SECONDS_VARIABLE = "S2S_PROGRESS_SECONDS"
"""Environment variable for another number of seconds."""

REST_OF_BAR = 54
"""Columns beside a bar: the stage, the percentage, two numbers of millions, the time."""

Callback = Callable[[str, int, int | None], None]
"""Called with the name of a stage, how much of it is done, and its total if that is known."""


@contextmanager
def progress() -> Iterator[Callback]:
    """Show progress during the block; each stage has its own bar."""
    if is_quiet():
        yield lambda stage, done, total: None
        return
    if not sys.stderr.isatty():
        yield _PlainLines()
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=max(4, min(30, console.width - REST_OF_BAR))),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(printable(stage), total=total)
        self.bars.update(self.tasks[stage], completed=done, total=total)


class _PlainLines:
    """Short work stays silent: the first line comes after `plain_seconds`. A stage that has begun
    to write lines ends with one."""

    def __init__(self) -> None:
        self.seconds = plain_seconds()
        self.last_line = time.monotonic()
        self.unfinished: set[str] = set()
        """Stages that have lines, but not the last one."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        is_end = done == total and stage in self.unfinished
        if not is_end and now - self.last_line < self.seconds:
            return
        self.last_line = now
        self.unfinished.add(stage)
        if done == total:
            self.unfinished.remove(stage)
        if total == 1:  # one step, without a number to count
            written = "done" if done else "begins"
        else:
            written = f"{done:,}" + ("" if total is None else f" of {total:,}")
            written += f" ({done / total:.0%})" if total else ""
        write_line(f"{stage}: {written}")


def plain_seconds() -> float:
    """Least seconds between two lines: `S2S_PROGRESS_SECONDS` if that is a number."""
    try:
        return float(os.environ[SECONDS_VARIABLE])
    except (KeyError, ValueError):
        return PLAIN_SECONDS
