"""`s2s train`: train the model of a recipe, or go on with its training."""

from typing import Annotated

import typer

from .options.common import RECIPE, RUNS, Device, Overrides, RecipePath, Runs, examples

EPILOG = examples(
    "s2s train recipe.yaml",
    "s2s train recipe.yaml --set train.optimizer.learning_rate=5e-4 --set name=half",
    "s2s train recipe.yaml --device cuda:1",
    "s2s train recipe.yaml --workers 2",
    "torchrun --standalone --nproc-per-node 4 --no-python s2s train recipe.yaml",
)


def train(
    recipe: RecipePath = RECIPE,
    *,
    overrides: Overrides = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    workers: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Processes that train side by side, on cores of a CPU."
        ),
    ] = 1,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what was trained and start over.")
    ] = False,
) -> None:
    """Train the model, preparing the data first if need be.

    Ctrl-C saves and stops; the same command goes on where it stopped.
    """
    from s2s.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    from s2s import pipeline  # takes seconds; a faulty recipe is reported before

    pipeline.train(loaded, runs=runs, device=device, restart=restart, workers=workers)
