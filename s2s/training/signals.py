"""Stop requests: a signal sets a flag that the training loop reads between updates."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """The signal that requested a stop, if one did."""

    def __init__(self, *, is_repeated: bool = False) -> None:
        self.signal_number: int | None = None
        self.is_repeated = is_repeated

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        """Record a signal; the second one interrupts at once, unless a launcher repeats signals."""
        if self.signal_number is None:
            self.signal_number = signal_number
        elif not self.is_repeated:  # the second request: stop without saving
            raise KeyboardInterrupt


@contextmanager
def stop_request(*, is_repeated: bool = False) -> Iterator[StopRequest]:
    """Catch Ctrl-C and SIGTERM during the block; a second one interrupts at once, unless a launcher
    repeats the signals that this process has received already.

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
