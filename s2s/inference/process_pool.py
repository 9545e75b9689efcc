"""Several processes that each do tasks of one kind, on a core of its own.

Processes, not threads: what is not matrix products is Python, which runs one thread at a time, and
small products gain little from a second.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Generic, NamedTuple, TypeVar

from s2s.errors import S2sError

T = TypeVar("T")
A = TypeVar("A")

Begin = Callable[[], Callable[[T], A]]
"""Makes what a worker does with a task; called in its process when the first one comes. It is sent
there, so a partial of a function."""


class _Answer(NamedTuple):
    """What came of a task."""

    found: Any
    error: Exception | None


class Pool(Generic[T, A]):
    """A number of processes, until it is closed."""

    def __init__(self, begin: Begin[T, A], count: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit OpenMP's threads
        self.pipes: list[Connection] = []
        self.processes = []
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, begin), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.processes)

    def close(self) -> None:
        """End them, whatever they are at."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()
        for pipe in self.pipes:
            pipe.close()

    def __call__(self, tasks: Sequence[T]) -> Iterator[A]:
        """What comes of tasks, no more of them than there are processes, in their order.

        Raises what a worker raised, S2sError where one is gone.
        """
        busy = self.pipes[: len(tasks)]
        for pipe, task in zip(busy, tasks, strict=True):
            self._heed(pipe.send, task)
        for pipe in busy:
            answer: _Answer = self._heed(pipe.recv)
            if answer.error is not None:
                raise answer.error
            yield answer.found

    def _heed(self, exchange: Callable[..., Any], *task: T) -> Any:
        """Send or receive."""
        try:
            return exchange(*task)
        except (EOFError, OSError):
            raise S2sError(
                "a worker process ended before its work was done (was memory short?); go on with "
                "fewer --workers"
            ) from None


def equal_shares(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Up to `most` ranges of adjacent things, each from a place to another, about equally large
    together and none of them empty."""
    total, size = sum(sizes), 0
    ends: list[int] = []
    for place, one in enumerate(sizes, start=1):
        size += one
        if size * most >= total * (len(ends) + 1):
            ends.append(place)
    ends[-1:] = [len(sizes)]
    ranges = zip([0, *ends], ends, strict=False)
    return [(start, end) for start, end in ranges if start < end]


def _work(pipe: Connection, begin: Begin[T, A]) -> None:
    """What a worker does until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who asked for work decides
    import torch

    torch.set_num_threads(1)
    do: Callable[[T], A] | None = None
    while True:
        try:
            task: T = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            do = do or begin()
            answer = _Answer(do(task), None)
        except Exception as error:
            answer = _Answer(None, error)
        try:
            pipe.send(answer)
        except OSError:
            return
