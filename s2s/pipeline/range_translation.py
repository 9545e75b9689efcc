"""Translates ranges of a file, as one of several processes that share a folder of parts.

A process takes the ranges of its own share first, then those that nobody has begun, and at last
those that were begun but are not finished: their process may be lost. Repeating one is harmless, as
a part is the same whoever writes it (backup tasks: Dean and Ghemawat 2004, MapReduce, section 3.6).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from s2s.errors import DataError
from s2s.inference.parts import Parts, Plan, work_order
from s2s.inference.signals import SignalHandler
from s2s.pipeline.progress import progress

if TYPE_CHECKING:
    from s2s.inference.translate_stream import LineStream
    from s2s.pipeline.line_translation import LineTranslation
    from s2s.training.distributed.process_group import ProcessGroup

POLL_SECONDS = 0.5
"""Seconds between two looks at what others have finished."""

PATIENCE = 60.0
"""Least seconds that a process without work waits for ranges that others have begun, before it
translates one of them itself."""

TIMES_LONGEST = 3.0
"""It also waits this multiple of the time of its own longest range."""


@dataclass
class RangeTranslation:
    """The work of one process, once all agree on the plan."""

    group: ProcessGroup
    parts: Parts
    plan: Plan
    source: Path
    translation: LineTranslation
    signals: SignalHandler
    longest: float = 0.0
    """Seconds of the longest range so far."""
    first_lines: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.first_lines = self.plan.first_lines()

    def run(self) -> int:
        """Translate until all ranges are done; returns the number of lines of the input."""
        is_reporter = self.group.rank == 0
        with ExitStack() as stack:
            lines = stack.enter_context(self.translation.loaded(is_quiet=not is_reporter))
            show = stack.enter_context(progress()) if is_reporter else None
            for index in self._ranges():
                began = time.monotonic()
                self._translate(lines, index)
                self.longest = max(self.longest, time.monotonic() - began)
                if show is not None:
                    done = self.parts.count - len(self.parts.missing())
                    show("translate", done, self.parts.count)
            if self.parts.claim("join"):
                for found in self.parts.join():
                    lines.add_counts(found.counts)
                lines.report()
        return self.first_lines[-1]

    def _ranges(self) -> Iterator[int]:
        """The ranges that this process translates, until none is left anywhere."""
        for index in work_order(self.group.rank, self.group.size, self.parts.count):
            if not self.parts.has(index) and self.parts.claim(index):
                yield index
        since, attempt = time.monotonic(), 1
        while missing := self.parts.missing():
            if time.monotonic() - since >= max(PATIENCE, TIMES_LONGEST * self.longest):
                for index in missing:
                    if not self.parts.has(index) and self.parts.claim(index, attempt):
                        yield index
                since, attempt = time.monotonic(), attempt + 1
            else:
                time.sleep(POLL_SECONDS)

    def _translate(self, lines: LineStream, index: int) -> None:
        from s2s.inference.progress import StreamProgress
        from s2s.inference.stream import StreamContext

        first = self.first_lines[index]
        reader = self.plan.ranges.open(self.source, index)
        with closing(reader), self.parts.writing(index) as part:
            source, target = cast(BinaryIO, reader), cast(BinaryIO, part)
            hidden = StreamProgress(source, StringIO(), first)
            context = StreamContext(start=first, signals=self.signals, progress=hidden)
            part.lines = lines(source, target, context) - first
            part.counts = lines.take_counts()
            if part.lines != self.plan.contents[index].lines:
                raise DataError(f"{self.source}: it changed while it was read; start over")
