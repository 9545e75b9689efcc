"""Measures updates as in training, and the time of their stages."""

import copy
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from s2s.bench.flops import TRAINING, Operations
from s2s.bench.report import TrainingResults
from s2s.bench.timing import Clock, Measurements, Turn, rate, restore_threads, scaled
from s2s.bench.workload import Workload, read_lengths, workload_of
from s2s.data.batches import batch_plan, collate, num_target_tokens
from s2s.nn.device import choose_precision, keep_freed_memory
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup, share
from s2s.training.distributed.shared_memory import SharedMemoryGroup, workers
from s2s.training.memory_usage import PeakMemory
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE
from s2s.training.update import Updater

NAME = "training"

STAGES = ("data", "forward", "backward", "optimizer")

SCHEDULE = 10_000
"""Updates that the schedule believes in."""


class Training:
    """Trains a copy of the workload's model on the same batches in every repeat, in this process or
    in a process group."""

    def __init__(
        self,
        workload: Workload,
        groups: Sequence[Sequence[NDArray[np.int64]]],
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """`groups` are the batches of each update, int64 [B] pairs each."""
        self.workload = workload
        self.group = group
        self.device = workload.model.output.bias.device
        self.groups = groups
        self.updater: Updater | None = None
        self.clock = Clock(self.device)
        self.peak = 0

    @property
    def turns(self) -> list[Turn]:
        """A turn of all updates."""
        return [Turn(NAME, self.run)]

    def run(self) -> tuple[float, ...]:
        """Seconds of all updates, and of each of STAGES."""
        if self.updater is not None:
            return self._updates(self.updater)
        # The memory is that of the first run, before other parts of the benchmark.
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
        self.group.broadcast(state)
        laps, group = self.clock.lap, self.group
        objective = Seq2SeqObjective(recipe.train)
        return Updater(
            state, objective, recipe.seed, precision, SCHEDULE, on_stage=laps, group=group
        )

    def _updates(self, updater: Updater) -> tuple[float, ...]:
        clock, corpus = self.clock, self.workload.corpus
        clock.seconds.clear()
        clock.restart()
        for pair_groups in self.groups:
            shares = [share(pairs, self.group) for pairs in pair_groups]
            batches = [collate(corpus, pairs, TIME_MULTIPLE) for pairs in shares if len(pairs)]
            tokens = sum(num_target_tokens(corpus, pairs) for pairs in pair_groups)
            clock.lap("data")
            updater(batches, tokens=tokens)
            self.group.all_gather(None)  # others may still update weights that the next batch reads
            clock.lap("optimizer")
        parts = [clock.seconds.get(stage, 0.0) for stage in STAGES]
        return (sum(parts), *parts)

    def results(
        self, taken: Measurements, limits: dict[str, float], name: str = NAME
    ) -> TrainingResults | None:
        """The results of the turn `name`; None if nothing was measured."""
        if name not in taken or self.updater is None:
            return None
        totals = [seconds[0] for seconds in taken[name]]
        split = list(zip(*taken[name], strict=True))[1:]
        tokens, operations = self._amounts()
        per_token = operations / tokens
        speed = rate(tokens, totals)
        done = scaled(speed, per_token)
        limit = limits.get(self.updater.precision)
        return TrainingResults(
            precision=self.updater.precision,
            processes=self.group.size,
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
        """Target tokens and operations of a repeat; R-Drop has two passes over every pair."""
        corpus = self.workload.corpus
        passes = TRAINING * (2 if self.workload.recipe.train.r_drop else 1)
        count = Operations.of(self.workload.model)
        tokens, operations = 0, 0.0
        for pairs in (pairs for pair_groups in self.groups for pairs in pair_groups):
            targets = corpus.target_lengths[pairs] + 1
            tokens += int(targets.sum())
            operations += passes * count.forward(*read_lengths(corpus, pairs), targets)
        return tokens, operations


class GroupTraining:
    """Training by several processes of one thread each, including this one."""

    def __init__(self, workload: Workload, updates: int, processes: int) -> None:
        self.workload = workload
        self.updates = updates
        self.processes = processes
        self.name = f"{NAME}, {processes} processes"
        self.others = ExitStack()
        self.training: Training | None = None

    @property
    def turns(self) -> list[Turn]:
        """A turn of all updates."""
        return [Turn(self.name, self._run)]

    def close(self) -> None:
        """Terminate the other processes."""
        self.others.close()

    def _run(self) -> tuple[float, ...]:
        with restore_threads():
            torch.set_num_threads(1)
            if self.training is None:
                subject = self.workload.run or self.workload.recipe
                work = partial(_work, subject, self.updates)
                group = self.others.enter_context(workers(self.processes, work))
                self.training = Training(
                    self.workload, training_batches(self.workload, self.updates), group
                )
            self.training.group.all_gather(None)  # starts the others
            return self.training.run()

    def results(self, taken: Measurements) -> TrainingResults | None:
        """The results; None if nothing was measured. Limit and memory of several processes are
        not measured."""
        found = None if self.training is None else self.training.results(taken, {}, self.name)
        return None if found is None else replace(found, peak_memory=None)


def _work(subject: Recipe | Run, updates: int, *, group: SharedMemoryGroup) -> None:
    """The loop of the other processes, until they are terminated."""
    keep_freed_memory()
    torch.set_num_threads(1)
    workload = workload_of(subject, torch.device("cpu"))
    training = Training(workload, training_batches(workload, updates), group)
    while True:
        group.all_gather(None)
        training.run()


def training_batches(workload: Workload, updates: int) -> list[list[NDArray[np.int64]]]:
    """The pairs of the batches of each of the first `updates`, or of all in the corpus."""
    recipe, corpus = workload.recipe, workload.corpus
    lengths = (corpus.memory_lengths, corpus.target_lengths)
    plan = batch_plan(
        lengths, recipe.train.fixed_batch_tokens, seed=recipe.seed, epoch=0, multiple=TIME_MULTIPLE
    )
    size = recipe.train.accumulate
    starts = range(0, min(len(plan), updates * size), size)
    return [[plan[i] for i in range(at, min(at + size, len(plan)))] for at in starts]
