"""`s2s check`: checks a recipe."""

from typing import Annotated

import typer

from .options.common import RECIPE, Overrides, RecipePath, examples, note

EPILOG = examples(
    "s2s check",
    "s2s check my.yaml --set model.decoder.layers=3",
    "s2s check my.yaml --print > resolved.yaml",
)


def check(
    recipe: RecipePath = RECIPE,
    overrides: Overrides = None,
    prints: Annotated[
        bool,
        typer.Option(
            "--print",
            help="Print what the recipe, its bases and --set say together, as one recipe; comments "
            "say which file and line each value comes from.",
        ),
    ] = False,
) -> None:
    """Check a recipe and report every fault with its line."""
    from s2s.recipe.load import dump_said, load_draft

    draft = load_draft(recipe, overrides or ())
    loaded = draft.recipe
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
    found = f"{recipe}: ok ({', '.join(parts)})"
    if prints:
        typer.echo(dump_said(draft), nl=False)
        note(found)
        return
    typer.echo(found)
