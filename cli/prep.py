"""`s2s prep`: prepares data and tokenizer of a recipe for training."""

from typing import Annotated

import typer

from .options.common import (
    RECIPE,
    RUNS,
    AsJson,
    Overrides,
    RecipePath,
    Runs,
    examples,
    note,
    say_json,
    write_wrapped,
)

EPILOG = examples(
    "s2s prep",
    "s2s prep my.yaml --set tokenizer.vocabulary=4000",
    "s2s prep --quiet --json > report.json",
)


def prep(
    recipe: RecipePath = RECIPE,
    overrides: Overrides = None,
    runs: Runs = RUNS,
    force: Annotated[
        bool, typer.Option("--force", help="Prepare everything again, even if it is up to date.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prepare the data and the tokenizer of a recipe.

    Trains the tokenizer, filters and encodes the data, and reports their sizes. Steps that are up
    to date are skipped.
    """
    from s2s.recipe.load import load_draft

    loaded = load_draft(recipe, overrides or ())
    from rich.console import Console

    from s2s import pipeline  # slow import, after faults of the recipe are reported

    report = pipeline.prepare(loaded, runs=runs, force=force)
    for line in report.choices:
        note(line)
    for line in report.warnings:
        note(f"warning: {line}")
    if as_json:
        found = {"run": str(runs / loaded.name), **report.as_json()}
        say_json(found)
    else:
        console = Console(stderr=True)
        console.print(report.table())
        for line in report.lines():
            write_wrapped(line, console.width)
    done = " and ".join(report.redone)
    note(f"{done} prepared" if done else "everything was up to date")
