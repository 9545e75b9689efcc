"""Runs a benchmark, whose parts take turns in every repeat."""

import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from s2s.bench.comparison import Comparison, Peer
from s2s.bench.decoding import Decoding
from s2s.bench.machine import describe_machine
from s2s.bench.matmul import SQUARE, Products, limits, sizes_of
from s2s.bench.prep import Preparation
from s2s.bench.report import FORMAT, PARTS, Part, Report
from s2s.bench.startup import FirstTranslation, Program, Startup
from s2s.bench.timing import Turn, restore_threads, take_turns
from s2s.bench.training import GroupTraining, Training, training_batches
from s2s.bench.workload import Workload, workload_of
from s2s.errors import UsageError
from s2s.nn.device import choose_device, keep_freed_memory, limit_threads
from s2s.nn.other_processes import OtherProcesses
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.run.environment import describe_environment

NEED_PRODUCTS: set[Part] = {"matmul", "training", "decoding"}

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """The amounts of work in a repeat."""

    updates: int = 12
    """Updates of training."""
    sentences: int = 1000
    """Sentences to search; fewer if they are long (`workload.TOKENS`)."""
    pairs: int = 20_000
    """Pairs to prepare."""
    square: int = SQUARE
    """Rows of the square product."""
    compared: tuple[int, int] = (6, 192)
    """Updates and sentences of a comparison with another toolkit."""


QUICK = Amounts(updates=3, sentences=48, pairs=2_000, compared=(2, 96))
"""The amounts of `--quick`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a benchmark."""

    only: tuple[Part, ...] = PARTS
    """The parts to measure. Training and decoding imply matmul, to which their shares refer."""
    repeats: int = 5
    """Repeats of every part."""
    threads: int | None = None
    """Threads of PyTorch; None for the number of training."""
    workers: int = 1
    """Processes that train, and that decode, in parallel; more than one adds a measurement."""
    device: str = "auto"
    """The device of the model."""
    compare: Peer | None = None
    """The toolkit to compare with."""
    amounts: Amounts = Amounts()
    """The work of each part."""
    program: Program
    """The commands whose startup is measured."""


class _Benchmark:
    """The parts of a plan, with one workload."""

    def __init__(self, workload: Workload, plan: Plan, folder: Path) -> None:
        self.workload = workload
        self.plan = plan
        self.taken: dict[str, list[tuple[float, ...]]] = {}
        self.began = datetime.now(UTC)
        device = workload.model.output.bias.device
        self.machine, self.others = describe_machine(device), OtherProcesses()
        only, amounts = plan.only, plan.amounts
        sizes = sizes_of(workload, amounts.square) if NEED_PRODUCTS & {*only} else []
        self.products = Products(sizes, device)
        self.training = None
        if "training" in only:
            self.training = Training(workload, training_batches(workload, amounts.updates))
        self.group_training = None
        if self.training is not None and plan.workers > 1:
            self.group_training = GroupTraining(workload, amounts.updates, plan.workers)
        self.decoding = None
        if "decoding" in only:
            precisions = self.products.precisions
            self.decoding = Decoding(workload, amounts.sentences, precisions, plan.workers)
        self.prep = None
        if "prep" in only:
            self.prep = Preparation(workload.recipe, amounts.pairs, folder)
        self.startup = None
        if "startup" in only:
            first = None
            if workload.run is not None:
                place = str(workload.run.folder)
                first = FirstTranslation(run=place, device=str(device), line=workload.line)
            self.startup = Startup(plan.program, first)
        self.comparison = None
        if plan.compare is not None:
            self.comparison = Comparison(workload, plan.compare, amounts.compared, folder)

    @property
    def turns(self) -> list[Turn]:
        """The turns of all parts; training comes first, to measure its memory alone."""
        parts = (
            self.training,
            self.group_training,
            self.products,
            self.decoding,
            self.prep,
            self.startup,
            self.comparison,
        )
        return [turn for part in parts if part is not None for turn in part.turns]

    def close(self) -> None:
        """Terminate other processes; their processor time then counts as that of this one."""
        for part in (self.group_training, self.decoding, self.comparison):
            if part is not None:
                part.close()

    def report(self) -> Report:
        """The report of all measurements so far."""
        environment = describe_environment(self.machine.device, self.workload.recipe.seed)
        names = ("s2s", "commit", "python")
        matmul, taken = self.products.results(self.taken), self.taken
        limit = limits(matmul)
        wanted = len(self.turns) * self.plan.repeats
        return Report(
            format=FORMAT,
            time=self.began.isoformat(timespec="seconds"),
            command=environment["command"],
            versions={**{name: environment[name] for name in names}, **environment["packages"]},
            machine=replace(self.machine, others=self.others.cores(), processes=self.plan.workers),
            sizes=self.workload.sizes,
            seed=self.workload.recipe.seed,
            repeats=self.plan.repeats,
            is_complete=sum(map(len, taken.values())) == wanted,
            matmul=matmul,
            training=self.training.results(taken, limit) if self.training else None,
            team_training=self.group_training.results(taken) if self.group_training else None,
            decoding=self.decoding.results(taken, limit) if self.decoding else [],
            prep=self.prep.results(taken) if self.prep else None,
            startup=self.startup.results(taken) if self.startup else [],
            skipped=self.products.skipped if self.products.ready else [],
            comparison=self.comparison.results(taken) if self.comparison else None,
        )


def measure(subject: Recipe | Run, plan: Plan, progress: Progress) -> Report:
    """The benchmark of a recipe's sizes, or of a run.

    Ctrl-C ends it, with a report of the measurements so far. Raises UsageError for a missing
    device, for workers or a comparison on a GPU, and as `Comparison` does; RunError for a run that
    cannot be used.
    """
    keep_freed_memory()
    device = choose_device(plan.device)
    if plan.workers > 1 and device.type != "cpu":
        raise UsageError(
            f"--workers share the cores of a CPU, found --device {device}; leave one out"
        )
    if plan.compare is not None and device.type != "cpu":
        raise UsageError(f"--compare: expected --device cpu, found {device}")
    with restore_threads(), tempfile.TemporaryDirectory() as folder:
        if isinstance(subject, Recipe):
            limit_threads(subject.model, device)
        workload = workload_of(subject, device)
        if plan.threads is not None:
            torch.set_num_threads(plan.threads)
        benchmark = _Benchmark(workload, plan, Path(folder))
        with closing(benchmark), suppress(KeyboardInterrupt):
            take_turns(benchmark.turns, plan.repeats, progress, benchmark.taken)
        return benchmark.report()
