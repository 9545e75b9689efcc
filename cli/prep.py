"""`s2s prep`: data and tokenizer of a recipe, ready for training."""

from typing import Annotated

import typer

from .options import RECIPE, RUNS, Overrides, RecipePath, Runs, examples

EPILOG = examples(
    "s2s prep",
    "s2s prep my.yaml --set tokenizer.vocabulary=4000",
)


def prep(
    recipe: RecipePath = RECIPE,
    overrides: Overrides = None,
    runs: Runs = RUNS,
    force: Annotated[
        bool, typer.Option("--force", help="Make everything anew, even what is up to date.")
    ] = False,
) -> None:
    """Prepare the data: train the tokenizer, encode, filter, report.

    What is up to date is not made again, so running it twice costs nothing.
    """
    from s2s.recipe_io import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    from s2s import pipeline  # takes seconds; a faulty recipe is reported before

    pipeline.prepare(loaded, runs=runs, force=force)
