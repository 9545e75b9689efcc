"""Stopping on request: a signal sets a flag that the training loop reads between updates."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """The signal that asked to stop, if one did."""

    def __init__(self, *, is_repeated: bool = False) -> None:
        self.signal_number: int | None = None
        self.is_repeated = is_repeated

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        """Remember the signal; the second one interrupts at once, unless all are repeated."""
        if self.signal_number is None:
            self.signal_number = signal_number
        elif not self.is_repeated:  # asked twice: do not insist on saving
            raise KeyboardInterrupt


@contextmanager
def stop_request(*, is_repeated: bool = False) -> Iterator[StopRequest]:
    """Catch Ctrl-C and SIGTERM for the time of the block; a second one interrupts at once, unless
    somebody repeats what this process has had already.

    Outside the main thread (a notebook's worker) signals cannot be caught and none ever arrives.
    """
    request = StopRequest(is_repeated=is_repeated)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
