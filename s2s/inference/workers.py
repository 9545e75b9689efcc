"""Several processes that translate side by side.

An output is a function of its line, its place in the input and the settings, so lines may be
divided among processes without changing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from s2s.errors import UsageError
from s2s.inference.nbest import Output
from s2s.inference.process_pool import Pool, equal_shares
from s2s.inference.translator import LineTranslator
from s2s.search.constraints.spec import ConstraintSpec

if TYPE_CHECKING:
    pass


@contextmanager
def translator_with_workers(
    load: Callable[[], LineTranslator], workers: int
) -> Iterator[LineTranslator]:
    """The translator, several processes doing its work where that is asked for."""
    loaded = load()
    if workers == 1:
        yield loaded
        return
    if loaded.device != "cpu":
        raise UsageError(
            f"--workers share the cores of a CPU, found --device {loaded.device}; leave one out"
        )
    from s2s.inference.workers import Workers

    with closing(Workers(load, workers)) as others:
        yield replace(loaded, elsewhere=others)


Load = Callable[[], LineTranslator]
"""Makes a worker's translator; it is sent to another process, so a partial of a function."""


class Task(NamedTuple):
    """A part of the lines that are translated together."""

    lines: list[str]
    first: int
    keep: int
    constraints: Sequence[ConstraintSpec] | None


class Answer(NamedTuple):
    """What came of a task."""

    outputs: list[list[Output]]
    notes: list[str]
    """What is to be reported."""


class Workers:
    """A number of processes with a translator each, until they are closed."""

    def __init__(self, load: Load, count: int) -> None:
        self.pool: Pool[Task, Answer] = Pool(partial(_translating, load), count)

    def close(self) -> None:
        """End them, whatever they are at."""
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

        Raises what a worker raised, S2sError where one is gone.
        """
        found: list[list[Output]] = []
        for answer in self.pool(divided(Task(lines, first, keep, constraints), self.pool.size)):
            found.extend(answer.outputs)
            for note in answer.notes:
                translator.report(note)
            if translator.progress is not None:
                translator.progress.part(len(found) / len(lines))
        return found


def divided(task: Task, most: int) -> list[Task]:
    """Up to `most` parts of the lines, each of adjacent ones, about equally long in characters."""
    sizes = [len(line) + 1 for line in task.lines]
    return [
        Task(
            task.lines[start:end],
            task.first + start,
            task.keep,
            None if task.constraints is None else task.constraints[start:end],
        )
        for start, end in equal_shares(sizes, most)
    ]


def _translating(load: Load) -> Callable[[Task], Answer]:
    """What a worker does with a task."""
    notes: list[str] = []
    translator = replace(load(), report=notes.append)

    def translate(task: Task) -> Answer:
        notes.clear()
        return Answer(translator.outputs(*task), list(notes))

    return translate
