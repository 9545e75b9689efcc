"""Measures several things in turns, in one process and in every repeat.

So a temporary slowdown of the machine affects all of them, and medians ignore it.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from s2s.bench.report import Spread

Measurements = Mapping[str, Sequence[tuple[float, ...]]]
"""The seconds of each turn in every counted repeat, by the name of the turn."""


class Turn(NamedTuple):
    """A measurement that is made once in every repeat."""

    name: str
    """A unique name."""
    run: Callable[[], tuple[float, ...]]
    """Returns the seconds it took, and those of its parts if it has any."""


def take_turns(
    turns: Sequence[Turn],
    repeats: int,
    progress: Callable[[str, int, int | None], None],
    taken: dict[str, list[tuple[float, ...]]],
) -> None:
    """Run every turn once without counting it, then `repeats` times; seconds go to `taken`.

    The first time prepares kernels and fills caches. After KeyboardInterrupt, `taken` has all
    turns that were finished.
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
    """The spread of one value or more."""
    found = list(values)
    return Spread(
        median=statistics.median(found), low=min(found), high=max(found), repeats=len(found)
    )


def rate(amount: float, seconds: Iterable[float]) -> Spread:
    """The spread of amount per second."""
    return spread(amount / one for one in seconds)


def scaled(value: Spread, factor: float) -> Spread:
    """The spread times a factor."""
    return Spread(
        median=value.median * factor,
        low=value.low * factor,
        high=value.high * factor,
        repeats=value.repeats,
    )


class Clock:
    """Measures consecutive intervals on a device, after synchronizing with it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.restart()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def restart(self) -> None:
        """Start an interval."""
        self.last = self._now()

    def lap(self, name: str) -> float:
        """End an interval and start the next; returns its seconds, which `seconds` adds up."""
        now = self._now()
        taken, self.last = now - self.last, now
        self.seconds[name] = self.seconds.get(name, 0.0) + taken
        return taken


@contextmanager
def restore_threads() -> Iterator[None]:
    """Restore the number of PyTorch's threads after the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
