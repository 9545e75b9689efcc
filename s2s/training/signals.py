"""Stop requests: a signal sets a flag that the training loop reads between updates."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from s2s.signals import HANGUP, caught_by


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

    Of them only a SIGHUP may be ignored from outside, as nohup does.
    """
    request = StopRequest(is_repeated=is_repeated)
    with caught_by(request, if_not_ignored=() if HANGUP is None else (HANGUP,)):
        yield request
