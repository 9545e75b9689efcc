"""Progress of long work on stderr: bars on a terminal, a few plain lines elsewhere."""

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
    TextColumn,
    TimeElapsedColumn,
)

from s2s.messages import is_quiet

PLAIN_SECONDS = 10.0
"""Minimum seconds between two plain lines."""

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
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=total)
        self.bars.update(self.tasks[stage], completed=done, total=total)


class _PlainLines:
    """Short work stays silent: the first line comes after `PLAIN_SECONDS`."""

    def __init__(self) -> None:
        self.last_line = time.monotonic()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self.last_line >= PLAIN_SECONDS:
            self.last_line = now
            of = f" of {total:,}" if total is not None else ""
            sys.stderr.write(f"{stage}: {done:,}{of}\n")
            sys.stderr.flush()
