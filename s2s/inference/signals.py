"""Ctrl-C and SIGTERM interrupt a filter at once, but never in the middle of an output line."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Turns a signal into KeyboardInterrupt, after the write it arrives in."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_writing = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal. A second one interrupts even a write: its reader may never read on."""
        is_second = self.number is not None
        self.number = number
        if is_second or not self.is_writing:
            raise KeyboardInterrupt

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block that one signal does not interrupt, but does when it is over."""
        self.is_writing = True
        try:
            yield
        finally:
            self.is_writing = False
        if self.number is not None:
            raise KeyboardInterrupt


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Catch the signals for the time of the block.

    A signal that is ignored (by nohup, or a shell for what runs in the background) stays so.
    Outside the main thread none can be caught, and none ever arrives.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
