"""The functions of `import s2s`: the pipeline's, with paths and names in place of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from s2s.messages import note, silenced
from s2s.pipeline.loading import load
from s2s.pipeline.options import SearchOptions
from s2s.pipeline.preparation import prepare as prepare_recipe
from s2s.pipeline.trained_model import TrainedModel
from s2s.pipeline.training import train as train_recipe
from s2s.recipe.load import DEFAULT_RECIPE, Draft, load_draft, override_recipe
from s2s.recipe.overrides import Overrides
from s2s.recipe.recipe import Recipe
from s2s.run.directory import RUNS, Run

if TYPE_CHECKING:
    from s2s.data.preparation.report import PrepareReport
    from s2s.data.sources.split import SplitName
    from s2s.pipeline.evaluation import Evaluation
    from s2s.pipeline.loading import RunName


def prepare(
    recipe: str | Path | Recipe = DEFAULT_RECIPE,
    overrides: Overrides = (),
    *,
    runs: str | Path = RUNS,
    force: bool = False,
    quiet: bool = False,
) -> PrepareReport:
    """Prepare tokenizers and data of a recipe, as `s2s prep` does; what is up to date stays.

    `overrides` change fields of the recipe: `{"data.pairs": 2000}` or `["data.pairs=2000"]`. What a
    file does not say is chosen to fit its data, while a recipe that is loaded is used as it is.
    Returns the report, whose `table()` a notebook shows. Raises RecipeError for faults of the
    recipe, DataError for data that differ from its description, UsageError where a training has
    begun on data that would change.
    """
    with silenced(quiet):
        report = prepare_recipe(_recipe(recipe, overrides), runs=Path(runs), force=force)
        for line in report.choices:
            note(line)
        for line in report.warnings:
            note(f"warning: {line}")
    return report


def train(
    recipe: str | Path | Recipe = DEFAULT_RECIPE,
    overrides: Overrides = (),
    *,
    runs: str | Path = RUNS,
    device: str = "auto",
    restart: bool = False,
    workers: int = 1,
    quiet: bool = False,
) -> TrainedModel:
    """Train the model of a recipe, or resume its training, as `s2s train` does.

    `overrides` change fields of the recipe: `{"train.epochs": 2, "name": "short"}` or
    `["train.epochs=2", "name=short"]`. What a file does not say is chosen to fit its data, while a
    recipe that is loaded is used as it is. Data that are not up to date are prepared first. Ctrl-C,
    or a notebook's interrupt, saves a checkpoint, and the same call resumes the training; outside
    the main thread a training cannot be interrupted.

    Returns the trained model. Raises RecipeError for faults of the recipe, Interrupted after an
    interruption, TrainingError where training cannot continue, and what `prepare` raises.
    """
    with silenced(quiet):
        loaded = _recipe(recipe, overrides)
        train_recipe(loaded, runs=Path(runs), device=device, restart=restart, workers=workers)
        assert loaded.name is not None, "load_recipe gives every recipe a name"
        return TrainedModel([Run.open(Path(runs) / loaded.name)], device=device, quiet=quiet)


def evaluate(
    run: RunName | Sequence[RunName] | TrainedModel | None = None,
    split: SplitName = "test",
    *,
    metrics: Sequence[str] | None = None,
    confidence: bool = False,
    scoring: Mapping[str, Any] | None = None,
    checkpoint: str | int = "best",
    device: str = "auto",
    runs: str | Path = RUNS,
    batch_size: int = 1024,
    quiet: bool = False,
    **options: Unpack[SearchOptions],
) -> Evaluation:
    """Translate a split of a run's data and score it, as `s2s evaluate` does.

    `run` as in `load`, or a model that is loaded, to which `checkpoint`, `device`, `runs` and
    `quiet` do not apply. The rest is as in `TrainedModel.evaluate`.
    """
    model = run
    if not isinstance(model, TrainedModel):
        model = load(model, checkpoint=checkpoint, device=device, runs=runs, quiet=quiet)
    return model.evaluate(
        split,
        metrics=metrics,
        confidence=confidence,
        scoring=scoring,
        batch_size=batch_size,
        **options,
    )


def _recipe(recipe: str | Path | Recipe, overrides: Overrides) -> Recipe | Draft:
    """The draft in a file, or a recipe that is loaded, with overrides."""
    if not isinstance(recipe, Recipe):
        return load_draft(recipe, overrides)
    return override_recipe(recipe, overrides) if overrides else recipe
