"""`s2s check`: checks a recipe."""

import typer

from .options.common import RECIPE, Overrides, RecipePath, examples

EPILOG = examples("s2s check", "s2s check my.yaml --set model.decoder.layers=3")


def check(recipe: RecipePath = RECIPE, overrides: Overrides = None) -> None:
    """Check a recipe and report every fault with its line."""
    from s2s.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    if loaded.train.log_to:
        from s2s.training.trackers.build import check_trackers

        check_trackers(loaded.train.log_to)
    parts = (
        loaded.task,
        f"data {loaded.data.kind}",
        f"tokenizer {loaded.tokenizer.kind}",
        f"decoder {loaded.model.decoder.kind}",
        f"run {loaded.name}",
    )
    typer.echo(f"{recipe}: ok ({', '.join(parts)})")
