"""Several processes that translate side by side, each on a core of its own.

An output is a function of its line, its place in the input and the settings, so lines may be
divided among processes without changing anything. Processes, not threads: what is not matrix
products is Python, which runs one thread at a time, and small products gain little from a second.
"""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple, Self

from s2s.errors import S2sError
from s2s.search.demands import Demand
from s2s.translate import LineTranslator
from s2s.translate_outputs import Output

Load = Callable[[], LineTranslator]
"""Makes a worker's translator; it is sent to another process, so a partial of a function."""


class Task(NamedTuple):
    """A part of the lines that are translated together."""

    lines: list[str]
    first: int
    keep: int
    demands: Sequence[Demand] | None


class Answer(NamedTuple):
    """What came of a task."""

    outputs: list[list[Output]]
    notes: list[str]
    """What is to be reported."""
    error: Exception | None = None


class Workers:
    """A number of processes with a translator each."""

    def __init__(self, load: Load, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit OpenMP's threads
        self.pipes: list[Connection] = []
        self.processes = []
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, load), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End them, whatever they are at."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()
        for pipe in self.pipes:
            pipe.close()

    def __call__(
        self,
        translator: LineTranslator,
        lines: list[str],
        first: int,
        keep: int,
        demands: Sequence[Demand] | None,
    ) -> list[list[Output]]:
        """The outputs of every line, in their order; see `LineTranslator.outputs`.

        Raises what a worker raised, S2sError where one is gone.
        """
        tasks = divided(Task(lines, first, keep, demands), len(self.pipes))
        for pipe, part in zip(self.pipes, tasks, strict=False):
            self._exchange(pipe, part)
        found: list[list[Output]] = []
        for pipe, _ in zip(self.pipes, tasks, strict=False):
            answer = self._exchange(pipe)
            if answer.error is not None:
                raise answer.error
            found.extend(answer.outputs)
            for note in answer.notes:
                translator.report(note)
            if translator.progress is not None:
                translator.progress.part(len(found) / len(lines))
        return found

    def _exchange(self, pipe: Connection, task: Task | None = None) -> Answer:
        """Send a task, or receive the answer to one."""
        try:
            if task is None:
                answer: Answer = pipe.recv()
                return answer
            pipe.send(task)
            return Answer([], [])
        except (EOFError, OSError):
            raise S2sError(
                "a worker process ended before its work was done (was memory short?); go on with "
                "fewer --workers"
            ) from None


def divided(task: Task, most: int) -> list[Task]:
    """Up to `most` parts of the lines, each of adjacent ones, about equally long in characters."""
    lines = task.lines
    total = sum(map(len, lines)) + len(lines)
    ends: list[int] = []
    size = 0
    for place, line in enumerate(lines, start=1):
        size += len(line) + 1
        if size * most >= total * (len(ends) + 1):
            ends.append(place)
    ends[-1:] = [len(lines)]
    parts = zip([0, *ends], ends, strict=False)
    return [
        Task(
            lines[start:end],
            task.first + start,
            task.keep,
            None if task.demands is None else task.demands[start:end],
        )
        for start, end in parts
        if start < end
    ]


def _work(pipe: Connection, load: Load) -> None:
    """What a worker does until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who asked for work decides
    import torch

    torch.set_num_threads(1)
    notes: list[str] = []
    translator: LineTranslator | None = None
    while True:
        try:
            task: Task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if translator is None:
                translator = replace(load(), report=notes.append)
            answer = Answer(translator.outputs(*task), list(notes))
        except Exception as error:
            answer = Answer([], [], error)
        notes.clear()
        try:
            pipe.send(answer)
        except OSError:
            return
