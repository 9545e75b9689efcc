"""Stop requests: a signal sets a flag that the training loop reads between updates."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Sent when a terminal is closed, often twice: by the system and by the shell. Windows has none."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP is not None else []))


class StopRequest:
    """The signal that requested a stop, if one did."""

    def __init__(self, *, is_repeated: bool = False) -> None:
        self.signal_number: int | None = None
        self.is_repeated = is_repeated

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        """Record a signal; the second one interrupts at once, unless a launcher repeats signals or
        it is that of a closed terminal."""
        if self.signal_number is None:
            self.signal_number = signal_number
        elif not self.is_repeated and signal_number != HANGUP:  # stop without saving
            raise KeyboardInterrupt


@contextmanager
def stop_request(*, is_repeated: bool = False) -> Iterator[StopRequest]:
    """Catch Ctrl-C, SIGTERM and SIGHUP during the block; a second one interrupts at once, unless a
    launcher repeats the signals that this process has received already.

    A SIGHUP that is ignored, as nohup makes it, stays ignored.
    Outside the main thread (a notebook's worker) signals cannot be caught and none ever arrives.
    """
    request = StopRequest(is_repeated=is_repeated)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    caught = [n for n in SIGNALS if n != HANGUP or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request) for number in caught}
    try:
        yield request
    finally:
        for number, handler in before.items():
            # The terminal is closed, which a second SIGHUP would say: the work is being saved.
            is_over = number == HANGUP == request.signal_number
            signal.signal(number, signal.SIG_IGN if is_over else handler)
