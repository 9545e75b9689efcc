"""Trains a recipe's run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from s2s.data.features.lookup import check_grids, open_features
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import Interrupted, UsageError
from s2s.inference.load import build_model
from s2s.nn.device import (
    Precision,
    choose_device,
    choose_precision,
    keep_freed_memory,
    limit_threads,
)
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.kernels import slow_training
from s2s.pipeline.preparation import _prepare
from s2s.run.directory import RUNS, Run
from s2s.special import EOS
from s2s.text.tokenizer_pair import load_tokenizers
from s2s.train.advice import advice
from s2s.train.batch_size_finder import find_batch_size, fixed_batch_size, with_batch_tokens
from s2s.train.distributed.launch import launched, with_workers
from s2s.train.reporter import SilentReporter
from s2s.train.reporter import reporter as default_reporter
from s2s.train.state import TrainingState
from s2s.train.trainer import TIME_MULTIPLE, Trainer, TrainingContext, end_reason, unigram

if TYPE_CHECKING:
    from s2s.data.store import Corpus
    from s2s.recipe.recipe import Recipe
    from s2s.text.tokenizer_pair import TokenizerPair
    from s2s.train.distributed.process_group import ProcessGroup
    from s2s.train.reporter import Reporter
    from s2s.train.state import Position


def train(
    recipe: Recipe,
    *,
    runs: Path = RUNS,
    device: str = "auto",
    restart: bool = False,
    workers: int = 1,
    reporter: Reporter | None = None,
) -> Position:
    """Train a recipe's run to its end, from where it stands; prepares data first if need be.

    So many `workers` share the work on a CPU. Where torchrun started this process, all that it
    started share it, and the others end with SystemExit where the first one raises an error.

    Returns where it ended. Raises Interrupted after Ctrl-C or SIGTERM, the state being saved.
    """
    with launched(device) as (group, own_device):
        if group.rank:
            return _follow(runs, recipe, own_device, group)
        run = Run.create(recipe, runs)
        with run.lock():
            if restart:
                run.restart(recipe)
            run.check_same(recipe)
            _prepare(run, recipe)
            group.all_gather(None)  # the others may read it
            from s2s.pipeline.training import train_run

            work = partial(train_run, run, recipe, "cpu", None)
            with with_workers(group, workers, work, own_device) as all_together:
                return train_run(run, recipe, own_device, reporter, group=all_together)


def _follow(runs: Path, recipe: Recipe, device: str, group: ProcessGroup) -> Position:
    """What all but the first of launched processes do."""
    from s2s.train.distributed.process_group import ReportedByRankZero, WorkerLost

    assert recipe.name is not None, "load_recipe gives every recipe a name"
    try:
        group.all_gather(None)
        from s2s.pipeline.training import train_run

        return train_run(Run.open(runs / recipe.name), recipe, device, None, group=group)
    except (Interrupted, ReportedByRankZero, WorkerLost) as error:  # the first process knows
        raise SystemExit(error.exit_status) from None


def train_run(
    run: Run, recipe: Recipe, device: str, reporter: Reporter | None, *, group: ProcessGroup
) -> Position:
    """Train a run whose data are prepared, or go on with it, as one process of a team.

    Raises what `Trainer.run` does, UsageError where the training state was deleted, DataError for
    features that are not as they were.
    """
    keep_freed_memory()
    chosen = choose_device(device)
    limit_threads(recipe.model, chosen, group.local_world_size)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    features = open_features(recipe.data, cache=run.features_folder)
    if features is not None:
        check_grids(features, recipe.model)
    corpus = open_corpus(run.folder, "train", features)
    has_validation = (run.data_folder / "validation.arrow").exists()
    state = _initial_state(recipe, tokenizers, corpus, chosen)
    last = run.checkpoints().last
    if last is not None:
        _resume(run, state, last)
    group.broadcast(state)
    precision = resolved_precision(run, recipe, chosen, group)
    if end_reason(state.position, recipe.train) is None:
        batch_size = find_batch_size(
            state, recipe, corpus, precision, multiple=TIME_MULTIPLE, group=group
        )
    else:
        batch_size = fixed_batch_size(state, recipe)
    recipe = with_batch_tokens(recipe, batch_size.batch_tokens)
    context = TrainingContext(
        recipe=recipe,
        run=run,
        train=corpus,
        validation=open_corpus(run.folder, "validation", features) if has_validation else None,
        tokenizers=tokenizers,
        precision=precision,
        batch_size=batch_size,
        group=group,
    )
    if group.rank == 0:
        run.write_environment(str(chosen), recipe.seed)
    with reporter or (SilentReporter() if group.rank else default_reporter()) as listening:
        trainer = Trainer(context, state, listening)
        if state.position.ended is None:
            listening.note(_opening(context, state, chosen))
            slow = slow_training(precision, chosen)
            lines = [slow, batch_size.warning, _other_size(run, group.size)]
            for line in (*lines, *advice(recipe, corpus, has_validation=has_validation)):
                if line is not None:
                    listening.note(f"{run.folder}: {line}")
            trainer.run()
        listening.note(_closing(run, state.position))
    return state.position


def _initial_state(
    recipe: Recipe, tokenizers: TokenizerPair, corpus: Corpus, device: torch.device
) -> TrainingState:
    """The state before the first update, a function of the recipe's seed and the data."""
    torch.manual_seed(recipe.seed)
    frequencies = unigram(corpus, tokenizers.target.size, EOS)
    stores = () if corpus.features is None else corpus.features.stores
    shapes = [FeatureShape(store.width, store.max_regions) for store in stores]
    model = build_model(recipe, tokenizers, frequencies, features=shapes)
    return TrainingState(model.to(device), recipe.train)


def _resume(run: Run, state: TrainingState, step: int) -> None:
    saved = run.read_training(step)
    if saved is None:
        raise UsageError(
            f"{run.folder}: the training state of update {step} was deleted, so training cannot go "
            "on; --restart starts over"
        )
    state.restore(run.read_weights(step), saved.tensors, saved.meta)


def _opening(context: TrainingContext, state: TrainingState, device: torch.device) -> str:
    size = sum(parameter.numel() for parameter in state.parameters.values())
    update = state.position.update
    verb = f"goes on at update {update:,}" if update else "begins"
    return (
        f"{context.run.folder}: training {verb}: {size:,} parameters, {context.precision} on "
        f"{device}; {context.batch_size.memory}"
    )


def resolved_precision(
    run: Run, recipe: Recipe, device: torch.device, group: ProcessGroup
) -> Precision:
    """The recipe's. What `auto` chose when the run began stays: the speed of this machine, measured
    anew, must not change the weights that a resumed run comes to, nor differ between processes."""
    wanted: str = recipe.train.precision
    if wanted == "auto" and run.checkpoints().last is not None:
        begun = [event["precision"] for event in run.read_events() if event["event"] == "start"]
        wanted = begun[-1] if begun else wanted
    return group.all_gather(choose_precision(wanted, device))[0]


def _other_size(run: Run, size: int) -> str | None:
    """A line where other processes, in number, trained before."""
    before = size
    for event in run.read_events():
        if event["event"] == "start":
            before = event.get("processes", 1)
    if before == size:
        return None
    return (
        f"number of processes: {before} before, {size} from here on; the sums are the same up to "
        "rounding, dropout is drawn anew"
    )


def _closing(run: Run, position: Position) -> str:
    best = ""
    if position.best_score is not None:
        best = (
            f"; best validation {abs(position.best_score):.2f} at update {position.best_update:,}"
        )
    return (
        f"{run.folder}: training is over after {position.update:,} updates and "
        f"{position.seconds / 60:.1f} min ({position.ended}){best}"
    )
