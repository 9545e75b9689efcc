"""A pool of processes that each run tasks of one kind, on one core.

Processes, not threads: beside matrix products the work is Python, which runs one thread at a time,
and small products gain little from a second thread.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Generic, NamedTuple, TypeVar

from s2s.errors import S2sError
from s2s.messages import prepare_streams

T = TypeVar("T")
A = TypeVar("A")

Begin = Callable[[], Callable[[T], A]]
"""Makes the function that a worker runs for each task. It is called in the worker when the first
task arrives, and sent there, so it must pickle."""


class _Answer(NamedTuple):
    """The result of a task."""

    found: Any
    error: Exception | None


class Pool(Generic[T, A]):
    """Processes that run tasks, until the pool is closed."""

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
        """The number of processes."""
        return len(self.processes)

    def close(self) -> None:
        """Terminate them, whatever they are doing."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()
        for pipe in self.pipes:
            pipe.close()

    def __call__(self, tasks: Sequence[T]) -> Iterator[A]:
        """The results of tasks, in their order; there must be no more tasks than processes.

        Raises the error of a worker, and S2sError if one has died.
        """
        busy = self.pipes[: len(tasks)]
        for pipe, task in zip(busy, tasks, strict=True):
            self._exchange(pipe.send, task)
        for pipe in busy:
            answer: _Answer = self._exchange(pipe.recv)
            if answer.error is not None:
                raise answer.error
            yield answer.found

    def _exchange(self, call: Callable[..., Any], *task: T) -> Any:
        """Send or receive."""
        try:
            return call(*task)
        except (EOFError, OSError):
            raise S2sError(
                "a worker process ended before its work was done (was memory short?); use fewer "
                "--workers"
            ) from None


def equal_shares(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Up to `most` ranges (start, end) of adjacent items, none empty, about equal in their sums of
    `sizes`."""
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
    """The loop of a worker, until its pipe is closed."""
    for name in ("SIGINT", "SIGHUP"):  # Ctrl-C and a closed terminal reach all processes;
        if hasattr(signal, name):  # the parent handles them
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    prepare_streams()
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
