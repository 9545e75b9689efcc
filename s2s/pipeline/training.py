"""Trains a recipe's run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.errors import Interrupted
from s2s.pipeline.preparation import prepare_run
from s2s.run.directory import RUNS, Run
from s2s.training.distributed.launch import launched, with_workers

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.training.distributed.process_group import ProcessGroup
    from s2s.training.reporter import Reporter
    from s2s.training.state import Position


def train(
    recipe: Recipe,
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

    Returns the position at which training ended. Raises Interrupted after Ctrl-C or SIGTERM, with
    the state saved.
    """
    with launched(device) as (group, own_device):
        if group.rank:
            return _follow(runs, recipe, own_device, group)
        run = Run.create(recipe, runs)
        with run.lock():
            if restart:
                run.restart(recipe)
            run.check_same(recipe)
            prepare_run(run, recipe)
            group.all_gather(None)  # the other ranks may read it now
            from s2s.pipeline.training_process import train_run

            work = partial(train_run, run, recipe, "cpu", None)
            with with_workers(group, workers, work, own_device) as whole_group:
                return train_run(run, recipe, own_device, reporter, group=whole_group)


def _follow(runs: Path, recipe: Recipe, device: str, group: ProcessGroup) -> Position:
    """Train as a launched process of another rank than 0."""
    from s2s.training.distributed.process_group import ReportedByRankZero, WorkerLost

    assert recipe.name is not None, "load_recipe gives every recipe a name"
    try:
        group.all_gather(None)
        from s2s.pipeline.training_process import train_run

        return train_run(Run.open(runs / recipe.name), recipe, device, None, group=group)
    except (Interrupted, ReportedByRankZero, WorkerLost) as error:  # rank 0 reports it
        raise SystemExit(error.exit_status) from None
