"""Ctrl-C, SIGTERM and SIGHUP interrupt a filter at once, but never within an output line."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Sent when a terminal is closed, often twice: by the system and by the shell. Windows has none."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP is not None else []))


class SignalHandler:
    """Turns a signal into KeyboardInterrupt; one that arrives during a write waits for its end."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_writing = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. A second one interrupts even a write, whose reader may be stuck, unless
        it is that of a closed terminal."""
        is_second = self.number is not None and number != HANGUP
        self.number = number
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
        if self.number is not None:
            raise KeyboardInterrupt


@contextmanager
def handle_signals() -> Iterator[SignalHandler]:
    """Catch `SIGNALS` during the block.

    A signal that is ignored (by nohup, or by a shell for background jobs) stays ignored. Outside
    the main thread no signal can be caught, and none arrives.
    """
    handler = SignalHandler()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    caught = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in caught}
    try:
        yield handler
    finally:
        for number, previous in before.items():
            # The terminal is closed, which a second SIGHUP would say: the command is ending.
            is_over = number == HANGUP == handler.number
            signal.signal(number, signal.SIG_IGN if is_over else previous)
