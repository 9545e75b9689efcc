"""A training run, from prepared data to its end, as each of its processes executes it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from s2s.data.distributions import DISTRIBUTIONS_FOLDER, Distributions
from s2s.data.features.lookup import check_grids, open_features
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import RunError, UsageError
from s2s.nn.device import (
    Precision,
    choose_device,
    choose_precision,
    keep_freed_memory,
    limit_threads,
)
from s2s.nn.kernels import slow_training
from s2s.nn.parts import freeze
from s2s.recipe.load import flat_fields
from s2s.run.history import read_history
from s2s.tasks.build import build_task
from s2s.text.tokenizer_pair import load_tokenizers
from s2s.training.batch_size_finder import find_batch_size, fixed_batch_size, with_batch_tokens
from s2s.training.begin import begin
from s2s.training.model_size import check_memory
from s2s.training.plan import end_reason
from s2s.training.reporter import SilentReporter
from s2s.training.reporter import reporter as default_reporter
from s2s.training.state import TrainingState
from s2s.training.trackers.base import Tracked
from s2s.training.trackers.reporter import Following, TrackingReporter
from s2s.training.trainer import TIME_MULTIPLE, Trainer, TrainingContext

if TYPE_CHECKING:
    import torch

    from s2s.data.store import Corpus
    from s2s.recipe.recipe import Recipe
    from s2s.run.directory import Run
    from s2s.text.tokenizer_pair import TokenizerPair
    from s2s.training.distributed.process_group import ProcessGroup
    from s2s.training.reporter import Reporter
    from s2s.training.state import Position


def train_run(
    run: Run, recipe: Recipe, device: str, reporter: Reporter | None, *, group: ProcessGroup
) -> Position:
    """Train a run whose data are prepared, or resume it, as one process of a group.

    Raises what `Trainer.run` does, UsageError where the training state was deleted, DataError for
    features that have changed.
    """
    keep_freed_memory()
    chosen = choose_device(device)
    limit_threads(recipe.model, chosen, group.local_world_size)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    sizes = tokenizers.source.size, tokenizers.target.size
    processes = 1 if chosen.type == "cuda" else group.local_world_size
    check_memory(recipe, sizes, chosen, processes, str(run.folder))
    corpus, validation = _corpora(run, recipe, tokenizers)
    task = build_task(recipe, tokenizers)
    objective, model = task.objective(corpus), task.initial_model(corpus)
    last = run.checkpoints().last
    is_first = group.rank == 0 and last is None
    lines = list(begin(model, run, recipe, tokenizers, corpus)) if is_first else []
    freeze(model, recipe.train.freeze)
    state = TrainingState(model.to(chosen), recipe.train)
    if last is not None:
        _resume(run, state, last)
    group.broadcast(state)
    precision = resolved_precision(run, recipe, chosen, group)
    if end_reason(state.position, recipe.train) is None:
        batch_size = find_batch_size(
            state, objective, recipe, corpus, precision, multiple=TIME_MULTIPLE, group=group
        )
    else:
        batch_size = fixed_batch_size(state, recipe)
    recipe = with_batch_tokens(recipe, batch_size.batch_tokens)
    context = TrainingContext(
        recipe=recipe,
        run=run,
        train=corpus,
        objective=objective,
        validate=None if validation is None else task.validation(validation, corpus),
        tokenizers=tokenizers,
        precision=precision,
        batch_size=batch_size,
        group=group,
    )
    if group.rank == 0:
        run.write_environment(str(chosen), recipe.seed)
    with _reporter(run, recipe, reporter, group) as listening:
        trainer = Trainer(context, state, listening)
        if state.position.ended is None:
            listening.note(_opening(context, state, chosen))
            size = _other_size(run, group.size)
            own = [slow_training(precision, chosen), batch_size.warning, size]
            warnings = task.warnings(corpus, has_validation=validation is not None)
            for line in (*lines, *own, *warnings):
                if line is not None:
                    listening.note(f"{run.folder}: {line}")
            trainer.run()
        listening.note(_closing(run, state.position))
    return state.position


def _corpora(run: Run, recipe: Recipe, tokenizers: TokenizerPair) -> tuple[Corpus, Corpus | None]:
    """The training split, in distillation with the teachers' distributions, and the validation
    split, if there is one."""
    features = open_features(recipe.data, cache=run.features_folder)
    if features is not None:
        check_grids(features, recipe.model)
    is_copying = recipe.model.copy != "none"
    corpora = [
        open_corpus(
            *(run.folder, split, features),
            tokenizers=tokenizers,
            is_copying=is_copying,
            is_aligned=split == "train" and recipe.train.guided_alignment is not None,
        )
        for split in ("train", "validation")
        if split == "train" or (run.data_folder / f"{split}.arrow").exists()
    ]
    if recipe.train.distill is not None and recipe.train.distill.has_distributions:
        total = len(corpora[0].target_values) + len(corpora[0])
        folder = run.folder / DISTRIBUTIONS_FOLDER
        teacher = Distributions.open(folder, total, tokenizers.target.size)
        corpora[0] = replace(corpora[0], teacher=teacher)
    return corpora[0], corpora[1] if len(corpora) > 1 else None


def _reporter(run: Run, recipe: Recipe, reporter: Reporter | None, group: ProcessGroup) -> Reporter:
    """The reporter of this process; that of rank 0 informs the recipe's trackers too."""
    if group.rank:
        return reporter or SilentReporter()
    shown = reporter or default_reporter()
    if not recipe.train.log_to:
        return shown
    fields = flat_fields(recipe)
    following = Following(
        names=recipe.train.log_to,
        tracked=lambda update: Tracked(
            folder=run.folder, name=run.name, fields=fields, update=update
        ),
    )
    return TrackingReporter(shown, following)


def _resume(run: Run, state: TrainingState, step: int) -> None:
    saved = run.read_training(step)
    if saved is None:
        raise UsageError(
            f"{run.folder}: the training state of update {step} was deleted, so training "
            "cannot resume; --restart starts over"
        )
    weights = run.read_weights(step)
    try:
        state.restore(weights, saved.tensors, saved.meta)
    except RunError as error:
        raise RunError(f"{run.folder}/checkpoints/{step}: {error}") from error
    _follow_best(run, state.position)


def _follow_best(run: Run, position: Position) -> None:
    """Take over the best checkpoint where another `train.best` has chosen it (`Run.check_same`)."""
    index = run.checkpoints()
    if index.best_score is None or (index.best, index.best_score) == (
        position.best_update,
        position.best_score,
    ):
        return
    validations = read_history(run.read_events()).validation
    position.best_update, position.best_score = index.best, index.best_score
    losses = [event["nll"] for event in validations if event["update"] == index.best]
    position.best_nll = losses[-1] if losses else None
    later = [event for event in validations if (index.best or 0) < event["update"]]
    position.stale = sum(event["update"] <= position.update for event in later)


def _opening(context: TrainingContext, state: TrainingState, device: torch.device) -> str:
    size = sum(parameter.numel() for parameter in state.parameters.values())
    trained = sum(parameter.numel() for parameter in state.trained.values())
    share = "" if trained == size else f", {trained:,} of them trained"
    update = state.position.update
    verb = f"resumes at update {update:,}" if update else "begins"
    return (
        f"{context.run.folder}: training {verb}: {size:,} parameters{share}, {context.precision} "
        f"on {device}; {context.batch_size.memory}"
    )


def resolved_precision(
    run: Run, recipe: Recipe, device: torch.device, group: ProcessGroup
) -> Precision:
    """The precision of a run: the recipe's, or what `auto` chose when the run began.

    A second measurement of this machine's speed must not change the weights of a resumed run, and
    all processes compute in the precision of rank 0.
    """
    wanted: str = recipe.train.precision
    if wanted == "auto" and run.checkpoints().last is not None:
        starts = [event for event in run.read_events() if event["event"] == "start"]
        precisions = get_args(Precision)
        begun = [event["precision"] for event in starts if event.get("precision") in precisions]
        wanted = begun[-1] if begun else wanted
    return group.all_gather(choose_precision(wanted, device))[0]


def _other_size(run: Run, size: int) -> str | None:
    """A line for the user where the number of processes has changed."""
    before = size
    for event in run.read_events():
        if event["event"] == "start":
            before = event.get("processes") or 1
    if before == size:
        return None
    return (
        f"number of processes: {before} before, {size} from here on; the sums are the same up to "
        "rounding, dropout differs"
    )


def _closing(run: Run, position: Position) -> str:
    best = ""
    if position.best_score is not None:
        best = (
            f"; best validation {abs(position.best_score):.2f} at update {position.best_update:,}"
        )
    return (
        f"{run.folder}: training ended after {position.update:,} updates and "
        f"{position.seconds / 60:.1f} min ({position.ended}){best}"
    )
