"""`s2s train`: trains the model of a recipe, or resumes its training."""

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
        typer.Option(min=1, metavar="N", help="Train with N processes, each on a core (CPU)."),
    ] = 1,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the training so far and start again.")
    ] = False,
) -> None:
    """Train the model of a recipe, or resume its training.

    Data that are not up to date are prepared first. Ctrl-C, SIGTERM and closing the
    terminal save a checkpoint and stop; the same command resumes the training.
    """
    from s2s.recipe.load import load_draft

    loaded = load_draft(recipe, overrides or ())
    from s2s import pipeline  # slow import, after faults of the recipe are reported

    pipeline.train(loaded, runs=runs, device=device, restart=restart, workers=workers)
