"""Trains a recipe's run."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.data.preparation.prepare import is_prepared
from s2s.errors import Interrupted, UsageError
from s2s.messages import note, write_line
from s2s.pipeline.defaults import complete
from s2s.pipeline.preparation import prepare_run
from s2s.pipeline.transfer import take_over
from s2s.recipe.load import Draft
from s2s.run.directory import RUNS, Run
from s2s.training.distributed.launch import launched, with_workers
from s2s.training.trackers.build import check_trackers

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.training.distributed.process_group import ProcessGroup
    from s2s.training.reporter import Reporter
    from s2s.training.state import Position

APPEARS = 90.0
"""Seconds in which another machine has to see what rank 0 wrote; NFS caches names for a minute."""


def train(
    recipe: Recipe | Draft,
    *,
    runs: Path = RUNS,
    device: str = "auto",
    restart: bool = False,
    workers: int = 1,
    reporter: Reporter | None = None,
) -> Position:
    """Train a recipe's run to its end, or resume it; prepares the data first if need be.

    `workers` processes share the work on a CPU. Where torchrun started this process, all processes
    that it started share the work; those of other ranks end with SystemExit when rank 0 raises.
    What a draft does not say is chosen to fit the data first (`s2s.pipeline.defaults`).

    Returns the position at which training ended. Raises UsageError where `train.log_to` names a
    tracker whose package is missing, and Interrupted after Ctrl-C, SIGTERM or SIGHUP,
    with the state saved.
    """
    with launched(device) as (group, own_device):
        if group.rank:
            return _follow(runs, recipe, own_device, group)
        plain = recipe.recipe if isinstance(recipe, Draft) else recipe
        check_trackers(plain.train.log_to)
        if plain.train.stream is not None and workers * group.size > 1:
            raise UsageError(
                "train.stream: rows carry their states from update to update, so one process has "
                "them all; train with one process, without --workers"
            )
        completed, choices = complete(recipe, runs=runs, device=own_device, restart=restart)
        run = Run.create(completed, runs)
        with run.lock():
            if restart:
                run.restart(completed)
            run.check_same(completed, partial(is_prepared, completed, run.folder))
            take_over(run, completed)
            report = prepare_run(run, completed, device=own_device)
            for line in choices:
                write_line(line)
            for line in report.warnings if report.redone else ():
                note(f"warning: {line}")
            group.all_gather(run.digest())  # the other ranks may read it now
            from s2s.pipeline.training_process import train_run

            work = partial(train_run, run, completed, "cpu", None)
            with with_workers(group, workers, work, own_device) as whole_group:
                return train_run(run, completed, own_device, reporter, group=whole_group)


def _follow(runs: Path, recipe: Recipe | Draft, device: str, group: ProcessGroup) -> Position:
    """Train as a launched process of another rank than 0."""
    from s2s.training.distributed.process_group import ReportedByRankZero, WorkerLost

    assert recipe.name is not None, "load_recipe gives every recipe a name"
    try:
        wanted = group.all_gather("")[0]
        from s2s.pipeline.training_process import train_run

        run = _shared_run(runs / recipe.name, wanted)
        completed = run.recipe if isinstance(recipe, Draft) else recipe
        return train_run(run, completed, device, None, group=group)
    except (Interrupted, ReportedByRankZero, WorkerLost) as error:  # rank 0 reports it
        raise SystemExit(error.exit_status) from None


def _shared_run(folder: Path, digest: str) -> Run:
    """The run that rank 0 has prepared, as soon as this machine sees it: file systems that machines
    share show new files late.

    Raises UsageError where it does not appear.
    """
    end = time.monotonic() + APPEARS
    while True:
        with suppress(UsageError):
            run = Run.open(folder)
            if run.digest() == digest:
                return run
        if time.monotonic() > end:
            raise UsageError(
                f"{folder}: expected the run that rank 0 has prepared, found another or none; do "
                "all machines see the same folder? --runs names one that they share"
            )
        time.sleep(0.2)
