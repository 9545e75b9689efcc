"""Taking turns: what is compared is measured in one process, one after the other, again and again.

So a machine that slows down for a while slows all of them, and medians pass over it.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from s2s.bench.report import Spread

Taken = Mapping[str, Sequence[tuple[float, ...]]]
"""What each turn gave in every counted repeat, by the turn's name."""


class Turn(NamedTuple):
    """Something to be measured once in every repeat."""

    name: str
    """Unlike all others."""
    run: Callable[[], tuple[float, ...]]
    """Does it; seconds of it, and of its parts where it has any."""


def take_turns(
    turns: Sequence[Turn],
    repeats: int,
    progress: Callable[[str, int, int | None], None],
    taken: dict[str, list[tuple[float, ...]]],
) -> None:
    """Run every turn once without counting it, then `repeats` times, into `taken`.

    The first time prepares kernels and fills caches. KeyboardInterrupt leaves in `taken` what was
    finished before.
    """
    for repeat in range(repeats + 1):
        stage = f"repeat {repeat} of {repeats}" if repeat else "warming up"
        for done, turn in enumerate(turns):
            progress(stage, done, len(turns))
            seconds = turn.run()
            if repeat:
                taken.setdefault(turn.name, []).append(seconds)
        progress(stage, len(turns), len(turns))


def spread(values: Iterable[float]) -> Spread:
    """Of one value or more."""
    found = list(values)
    return Spread(
        median=statistics.median(found), low=min(found), high=max(found), repeats=len(found)
    )


def rate(amount: float, seconds: Iterable[float]) -> Spread:
    """How much per second, of the same amount in each time."""
    return spread(amount / one for one in seconds)


def times(figure: Spread, factor: float) -> Spread:
    """Of other units."""
    return Spread(
        median=figure.median * factor,
        low=figure.low * factor,
        high=figure.high * factor,
        repeats=figure.repeats,
    )


class Clock:
    """Seconds of one stretch after the other on a device, which is waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.restart()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def restart(self) -> None:
        """Begin a stretch."""
        self.last = self._now()

    def lap(self, name: str) -> float:
        """End a stretch and begin the next; its seconds, which are added to others of the name."""
        now = self._now()
        taken, self.last = now - self.last, now
        self.seconds[name] = self.seconds.get(name, 0.0) + taken
        return taken


@contextmanager
def chosen_threads() -> Iterator[None]:
    """PyTorch has as many threads after the block as before, whatever the block chooses."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
