"""Prepares the data of a recipe's run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from s2s.data.preparation.fingerprints import has_content, read_fingerprint
from s2s.data.preparation.prepare import is_data_missing, is_prepared
from s2s.data.preparation.prepare import prepare as prepare_data
from s2s.errors import UsageError
from s2s.pipeline.defaults import complete
from s2s.pipeline.distillation import make_distributions
from s2s.pipeline.progress import progress
from s2s.pipeline.synthetic import drop_unused, make_synthetic
from s2s.pipeline.transfer import take_over
from s2s.run.directory import RUNS, Run
from s2s.training.distributed.launch import is_launched, launched

if TYPE_CHECKING:
    from s2s.data.preparation.report import PrepareReport
    from s2s.recipe.load import Draft
    from s2s.recipe.recipe import Recipe
    from s2s.training.distributed.process_group import ProcessGroup


def prepare(recipe: Recipe | Draft, *, runs: Path = RUNS, force: bool = False) -> PrepareReport:
    """Make those tokenizers and encoded data of a recipe's run that are not up to date.

    What a draft does not say is chosen to fit the data first (`s2s.pipeline.defaults`). Where
    torchrun started this process, rank 0 prepares; other ranks wait, and end with SystemExit.

    Raises DataError for data that differ from the recipe's description, UsageError where a training
    has begun on data that would change.
    """
    if is_launched():
        with launched("cpu") as (group, _):
            if group.rank:
                _wait_for_rank_zero(group)
            report = _prepare(recipe, runs, force)
            group.all_gather(None)
            return report
    return _prepare(recipe, runs, force)


def _wait_for_rank_zero(group: ProcessGroup) -> NoReturn:
    """Raises SystemExit when rank 0 has prepared, or has failed and said why."""
    from s2s.training.distributed.process_group import WorkerLost

    try:
        group.all_gather(None)
    except WorkerLost as error:
        raise SystemExit(error.exit_status) from None
    raise SystemExit(0)


def _prepare(recipe: Recipe | Draft, runs: Path, force: bool) -> PrepareReport:
    completed, choices = complete(recipe, runs=runs)
    run = Run.create(completed, runs)
    with run.lock():
        run.check_same(completed, partial(is_prepared, completed, run.folder))
        take_over(run, completed)
        return replace(prepare_run(run, completed, force), choices=choices)


def prepare_run(
    run: Run, recipe: Recipe, force: bool = False, device: str = "auto"
) -> PrepareReport:
    """`prepare` for a run that is locked; on `device` other runs make pairs, where the recipe asks
    for some."""
    has_begun = run.checkpoints().last is not None
    if has_begun and (force or not _keeps_data(run, recipe)):
        reason = "would be prepared again" if force else _changed(run)
        raise UsageError(
            f"{run.folder}: trained on data that {reason}; --set name=NEW starts a new run, "
            "s2s train --restart starts over in this folder"
        )
    if not has_begun:
        drop_unused(run, recipe)
        make_synthetic(run, recipe, force=force, device=device)
    with progress() as callback:
        report = prepare_data(recipe, run.folder, force=force, progress=callback)
        if not has_begun:
            make_distributions(run, recipe, progress=callback, device=device)
    return report


def _changed(run: Run) -> str:
    """What is known of data that are not those of the run."""
    found = read_fingerprint(run.data_folder) or read_fingerprint(run.tokenizer_folder)
    if found and not has_content(found):
        return "has changed since, or was copied (an earlier s2s knew files by path and time)"
    return "has changed since"


def _keeps_data(run: Run, recipe: Recipe) -> bool:
    """Whether preparation would leave the data that the run was trained on."""
    return is_prepared(recipe, run.folder) or is_data_missing(recipe, run.folder)
