"""All of a benchmark: its parts take turns, repeat by repeat."""

import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from s2s.bench.decoding import Decoding
from s2s.bench.machine import Others, describe_machine
from s2s.bench.matmul import SQUARE, Products, limits, sizes_of
from s2s.bench.prep import Preparing
from s2s.bench.report import FORMAT, PARTS, Part, Report
from s2s.bench.startup import First, Program, Startup
from s2s.bench.timing import Turn, chosen_threads, take_turns
from s2s.bench.training import TeamTraining, Training
from s2s.bench.workload import Workload, workload_of
from s2s.errors import UsageError
from s2s.nn.device import choose_device, keep_freed_memory, limit_threads
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.run.environment import describe_environment

NEED_PRODUCTS: set[Part] = {"matmul", "training", "decoding"}

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is done in a repeat."""

    updates: int = 12
    """Of training."""
    sentences: int = 1000
    """Searched; fewer where they are long (`workload.TOKENS`)."""
    pairs: int = 20_000
    """Prepared."""
    square: int = SQUARE
    """Rows of the square product."""


QUICK = Amounts(updates=3, sentences=48, pairs=2_000)
"""For a first impression."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for."""

    only: tuple[Part, ...] = PARTS
    """The parts that are measured. Training and decoding bring matmul along, which their shares
    refer to."""
    repeats: int = 5
    """Of every part."""
    threads: int | None = None
    """Of PyTorch; as many as training would take if None."""
    workers: int = 1
    """Processes that train, and that decode, side by side: an extra measurement where they are
    several."""
    device: str = "auto"
    """Where the model is."""
    amounts: Amounts = Amounts()
    """Of each part."""
    program: Program
    """The commands whose start is measured."""


class _Benchmark:
    """The parts that a plan asks for, of one workload."""

    def __init__(self, workload: Workload, plan: Plan, folder: Path) -> None:
        self.workload = workload
        self.plan = plan
        self.taken: dict[str, list[tuple[float, ...]]] = {}
        self.began = datetime.now(UTC)
        device = workload.model.output.bias.device
        self.machine, self.others = describe_machine(device), Others()
        only, amounts = plan.only, plan.amounts
        sizes = sizes_of(workload, amounts.square) if NEED_PRODUCTS & {*only} else []
        self.products = Products(sizes, device)
        self.training = Training(workload, amounts.updates) if "training" in only else None
        self.team_training = None
        if self.training is not None and plan.workers > 1:
            self.team_training = TeamTraining(workload, amounts.updates, plan.workers)
        self.decoding = None
        if "decoding" in only:
            precisions = self.products.precisions
            self.decoding = Decoding(workload, amounts.sentences, precisions, plan.workers)
        self.prep = None
        if "prep" in only:
            self.prep = Preparing(workload.recipe, amounts.pairs, folder)
        self.startup = None
        if "startup" in only:
            first = None
            if workload.run is not None:
                place = str(workload.run.folder)
                first = First(run=place, device=str(device), line=workload.line)
            self.startup = Startup(plan.program, first)

    @property
    def turns(self) -> list[Turn]:
        """Of all parts; training is the first, so that nothing is beside it when it tells its
        memory."""
        parts = (
            self.training,
            self.team_training,
            self.products,
            self.decoding,
            self.prep,
            self.startup,
        )
        return [turn for part in parts if part is not None for turn in part.turns]

    def close(self) -> None:
        """End what runs beside; what it took of the processor is ours from then on."""
        for part in (self.team_training, self.decoding):
            if part is not None:
                part.close()

    def report(self) -> Report:
        """What was measured so far."""
        environment = describe_environment(self.machine.device, self.workload.recipe.seed)
        names = ("s2s", "commit", "python")
        matmul, taken = self.products.figures(self.taken), self.taken
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
            training=self.training.figures(taken, limit) if self.training else None,
            team_training=self.team_training.figures(taken) if self.team_training else None,
            decoding=self.decoding.figures(taken, limit) if self.decoding else [],
            prep=self.prep.figures(taken) if self.prep else None,
            startup=self.startup.figures(taken) if self.startup else [],
            skipped=self.products.skipped if self.products.ready else [],
        )


def measure(subject: Recipe | Run, plan: Plan, progress: Progress) -> Report:
    """The benchmark of a recipe's sizes, or of a run.

    Ctrl-C ends it: the report then has what was measured so far. Raises UsageError for a device
    that is not there, or that workers do not share, RunError for a run that cannot be used.
    """
    keep_freed_memory()
    device = choose_device(plan.device)
    if plan.workers > 1 and device.type != "cpu":
        raise UsageError(
            f"--workers share the cores of a CPU, found --device {device}; leave one out"
        )
    with chosen_threads(), tempfile.TemporaryDirectory() as folder:
        if isinstance(subject, Recipe):
            limit_threads(subject.model, device)
        workload = workload_of(subject, device)
        if plan.threads is not None:
            torch.set_num_threads(plan.threads)
        benchmark = _Benchmark(workload, plan, Path(folder))
        with closing(benchmark), suppress(KeyboardInterrupt):
            take_turns(benchmark.turns, plan.repeats, progress, benchmark.taken)
        return benchmark.report()
