"""The signals that ask a command to stop, caught while it works."""

import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Sent when a terminal is closed, often twice: by the system and by the shell. Windows has none."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP is not None else []))
"""Ctrl-C, the end of a session or a container, a closed terminal."""


class Handler(Protocol):
    """Reacts to a signal."""

    signal_number: int | None
    """The signal that came, if one did."""

    def __call__(self, signal_number: int, frame: FrameType | None, /) -> None:
        """React to a signal."""


@contextmanager
def caught_by(handler: Handler, *, if_not_ignored: Collection[int]) -> Iterator[None]:
    """Let `handler` react to `SIGNALS` during the block.

    A signal of `if_not_ignored` that is ignored (by nohup, or by a shell for background jobs) stays
    ignored. Outside the main thread (a notebook's worker) no signal can be caught, and none
    arrives. After a SIGHUP another one is ignored: the work is being saved, or the command ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    chosen = [
        number
        for number in SIGNALS
        if number not in if_not_ignored or signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, handler) for number in chosen}
    try:
        yield
    finally:
        for number, previous in before.items():
            is_over = number == HANGUP == handler.signal_number
            signal.signal(number, signal.SIG_IGN if is_over else previous)
