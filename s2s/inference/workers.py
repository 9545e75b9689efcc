"""Translation in several processes at a time.

An output is a function of its line, its place in the input and the settings. So it does not depend
on how lines are divided among processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from s2s.errors import UsageError
from s2s.inference.nbest import Output
from s2s.inference.process_pool import Pool, equal_shares
from s2s.inference.translator import LineTranslator
from s2s.inference.unknown_tokens import UnknownTokens
from s2s.search.constraints.spec import ConstraintSpec


@contextmanager
def translator_with_workers(
    load: Callable[[], LineTranslator], workers: int
) -> Iterator[LineTranslator]:
    """The translator, which with more than one of `workers` searches in so many processes.

    Raises UsageError for workers on a GPU.
    """
    loaded = load()
    if workers == 1:
        yield loaded
        return
    if loaded.device != "cpu":
        raise UsageError(
            f"--workers share the cores of a CPU, found --device {loaded.device}; leave one out"
        )
    with closing(Workers(load, workers)) as pool:
        yield replace(loaded, workers=pool)


Load = Callable[[], LineTranslator]
"""Makes a worker's translator. It is sent to another process, so it must pickle."""


class WorkerTask(NamedTuple):
    """The share of one worker in the lines of a window."""

    lines: list[str]
    first: int
    keep: int
    constraints: Sequence[ConstraintSpec] | None


class Answer(NamedTuple):
    """The outputs of a task."""

    outputs: list[list[Output]]
    notes: list[str]
    """Notes that the translator reported."""
    unknown: UnknownTokens
    """Counts of the task's lines."""


class Workers:
    """Processes with a translator each, until they are closed."""

    def __init__(self, load: Load, count: int) -> None:
        self.pool: Pool[WorkerTask, Answer] = Pool(partial(_translating, load), count)

    def close(self) -> None:
        """Terminate them, whatever they are doing."""
        self.pool.close()

    def __call__(
        self,
        translator: LineTranslator,
        lines: list[str],
        first: int,
        keep: int,
        constraints: Sequence[ConstraintSpec] | None,
    ) -> list[list[Output]]:
        """The outputs of every line, in their order; see `LineTranslator.outputs`.

        Raises the error of a worker, and S2sError if one has died.
        """
        found: list[list[Output]] = []
        for answer in self.pool(
            divide(WorkerTask(lines, first, keep, constraints), self.pool.size)
        ):
            found.extend(answer.outputs)
            for note in answer.notes:
                translator.report(note)
            if translator.unknown is not None:
                translator.unknown.merge(answer.unknown)
            if translator.progress is not None:
                translator.progress.part(len(found) / len(lines))
        return found


def divide(task: WorkerTask, most: int) -> list[WorkerTask]:
    """Up to `most` parts of a task, each of adjacent lines, about equally long in characters."""
    sizes = [len(line) + 1 for line in task.lines]
    return [
        WorkerTask(
            task.lines[start:end],
            task.first + start,
            task.keep,
            None if task.constraints is None else task.constraints[start:end],
        )
        for start, end in equal_shares(sizes, most)
    ]


def _translating(load: Load) -> Callable[[WorkerTask], Answer]:
    """The function that a worker runs for each task."""
    notes: list[str] = []
    translator = replace(load(), report=notes.append)

    def translate(task: WorkerTask) -> Answer:
        notes.clear()
        unknown = UnknownTokens()
        outputs = replace(translator, unknown=unknown).outputs(*task)
        return Answer(outputs, list(notes), unknown)

    return translate
