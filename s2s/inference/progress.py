"""Progress of a stream: the lines that are translated and the time that is left."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import BinaryIO, TextIO

from s2s.messages import write_to

PROGRESS_SECONDS = 0.5
"""The least time between two updates of the line."""


class StreamProgress:
    """Lines, lines per second, and for a file the part that is done and the time that is left.

    It is shown if `messages` (stderr if None) is a terminal and the source is not: a terminal as
    source shows the translations themselves.
    """

    def __init__(self, source: BinaryIO, messages: TextIO | None, start: int = 0) -> None:
        """`start` lines of the input are already done."""
        self.messages = sys.stderr if messages is None else messages
        has_terminal = self.messages is not None and self.messages.isatty()
        self.is_shown = has_terminal and not source.isatty()
        self.begun = time.monotonic()
        self.last = 0.0
        self.start = self.done = start
        self.first_byte, self.size = _extent(source)
        self.done_bytes = self.first_byte
        self.lines = self.bytes = 0
        self.width = 0

    def window(self, lines: int, size: int) -> None:
        """Start a window of so many lines, of `size` bytes; the window before is done."""
        self.done += self.lines
        self.done_bytes += self.bytes
        self.lines, self.bytes = lines, size
        self.part(0.0)

    def part(self, fraction: float) -> None:
        """Show that so much of the window is searched, at most every `PROGRESS_SECONDS`."""
        if not self.is_shown:
            return
        now = time.monotonic()
        if now - self.last >= PROGRESS_SECONDS:
            self.last = now
            self._write(self.done + int(fraction * self.lines), fraction)

    def end(self, done: int) -> None:
        """Show the last state, which stays."""
        if self.is_shown:
            self.size = 0
            self._write(done, 0.0, "\n")

    def _write(self, done: int, fraction: float, end: str = "") -> None:
        seconds = time.monotonic() - self.begun
        rate = (done - self.start) / max(seconds, 1e-9)
        text = f"{done:,} lines, {rate:,.1f} lines/s"
        if self.size > 0:
            here = self.done_bytes + fraction * self.bytes
            text += f", {100 * here / self.size:.0f} %"
            if here > self.first_byte:
                left = seconds * (self.size - here) / (here - self.first_byte)
                text += f", {duration(left)} left"
        self.width = max(self.width, len(text))  # blanks cover a longer text written before
        write_to(self.messages, f"\r{text:<{self.width}}  {end}")


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _extent(source: BinaryIO) -> tuple[int, int]:
    """The position in a file and its size, in bytes; zeros for what is not a file."""
    try:
        status = os.fstat(source.fileno())
        return (source.tell(), status.st_size) if stat.S_ISREG(status.st_mode) else (0, 0)
    except (OSError, ValueError):  # no descriptor: a stream in memory
        return 0, 0
