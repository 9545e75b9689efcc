"""Ctrl-C, SIGTERM and SIGHUP interrupt a filter at once, but never within an output line."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from s2s.signals import HANGUP, SIGNALS, caught_by


class SignalHandler:
    """Turns a signal into KeyboardInterrupt; one that arrives during a write waits for its end."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.is_writing = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        """Handle a signal. A second one interrupts even a write, whose reader may be stuck, unless
        it is that of a closed terminal."""
        is_second = self.signal_number is not None and signal_number != HANGUP
        self.signal_number = signal_number
        if is_second or not self.is_writing:
            raise KeyboardInterrupt

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block that one signal does not interrupt until it ends."""
        self.is_writing = True
        try:
            yield
        finally:
            self.is_writing = False
        if self.signal_number is not None:
            raise KeyboardInterrupt


@contextmanager
def handle_signals() -> Iterator[SignalHandler]:
    """Catch `SIGNALS` during the block, but for those that are ignored from outside."""
    handler = SignalHandler()
    with caught_by(handler, if_not_ignored=SIGNALS):
        yield handler
