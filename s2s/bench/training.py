"""Updates as training makes them, and where their time goes."""

import copy
import statistics

import numpy as np
from numpy.typing import NDArray

from s2s.bench.operations import TRAINING, Operations
from s2s.bench.report import TrainingFigures
from s2s.bench.timing import Clock, Taken, Turn, rate, times
from s2s.bench.workload import Workload, read_lengths
from s2s.data.batches import batch_plan, collate
from s2s.train.device import choose_precision
from s2s.train.loop import TIME_MULTIPLE
from s2s.train.memory import PeakMemory
from s2s.train.state import TrainingState
from s2s.train.update import Updater

NAME = "training"

STAGES = ("data", "forward", "backward", "optimizer")

SCHEDULE = 10_000
"""Updates that the schedule believes in."""


class Training:
    """A copy of the workload's model that learns from the same batches in every repeat."""

    def __init__(self, workload: Workload, updates: int) -> None:
        self.workload = workload
        self.device = workload.model.output.bias.device
        self.groups = _groups(workload, updates)
        self.updater: Updater | None = None
        self.clock = Clock(self.device)
        self.peak = 0

    @property
    def turns(self) -> list[Turn]:
        """One: all updates."""
        return [Turn(NAME, self._run)]

    def _run(self) -> tuple[float, ...]:
        """Seconds of all updates, and of each of STAGES."""
        if self.updater is not None:
            return self._updates(self.updater)
        # The first time, which has as yet little beside it, tells the memory.
        peak = PeakMemory(self.device)
        self.updater = self._updater()
        seconds = self._updates(self.updater)
        self.peak = peak.read()
        return seconds

    def _updater(self) -> Updater:
        recipe = self.workload.recipe
        model = copy.deepcopy(self.workload.model).train()
        precision = choose_precision(recipe.train.precision, self.device)
        state = TrainingState(model, recipe.train)
        return Updater(state, recipe.seed, precision, SCHEDULE, lap=self.clock.lap)

    def _updates(self, updater: Updater) -> tuple[float, ...]:
        clock = self.clock
        clock.seconds.clear()
        clock.restart()
        for group in self.groups:
            batches = [collate(self.workload.corpus, pairs, TIME_MULTIPLE) for pairs in group]
            clock.lap("data")
            updater(batches)
        parts = [clock.seconds[stage] for stage in STAGES]
        return (sum(parts), *parts)

    def figures(self, taken: Taken, limits: dict[str, float]) -> TrainingFigures | None:
        """None where nothing was measured."""
        if NAME not in taken or self.updater is None:
            return None
        totals = [seconds[0] for seconds in taken[NAME]]
        split = list(zip(*taken[NAME], strict=True))[1:]
        tokens, operations = self._amounts()
        per_token = operations / tokens
        speed = rate(tokens, totals)
        done = times(speed, per_token)
        limit = limits.get(self.updater.precision)
        return TrainingFigures(
            precision=self.updater.precision,
            updates=len(self.groups),
            target_tokens=tokens,
            tokens_per_second=speed,
            operations_per_token=per_token,
            operations_per_second=done,
            share=done.median / limit if limit else None,
            seconds={
                stage: statistics.median(seconds) / len(self.groups)
                for stage, seconds in zip(STAGES, split, strict=True)
            },
            peak_memory=self.peak,
        )

    def _amounts(self) -> tuple[int, float]:
        """Target tokens of a repeat, and operations; R-Drop passes over every pair twice."""
        corpus = self.workload.corpus
        passes = TRAINING * (2 if self.workload.recipe.train.r_drop else 1)
        count = Operations.of(self.workload.model)
        tokens, operations = 0, 0.0
        for pairs in (pairs for group in self.groups for pairs in group):
            targets = corpus.target_lengths[pairs] + 1
            tokens += int(targets.sum())
            operations += passes * count.forward(*read_lengths(corpus, pairs), targets)
        return tokens, operations


def _groups(workload: Workload, updates: int) -> list[list[NDArray[np.int64]]]:
    """Pairs of the batches of each of the first updates, or of all there are."""
    recipe, corpus = workload.recipe, workload.corpus
    lengths = (corpus.memory_lengths, corpus.target_lengths)
    plan = batch_plan(
        lengths, recipe.train.fixed_batch_tokens, seed=recipe.seed, epoch=0, multiple=TIME_MULTIPLE
    )
    size = recipe.train.accumulate
    starts = range(0, min(len(plan), updates * size), size)
    return [[plan[i] for i in range(at, min(at + size, len(plan)))] for at in starts]
