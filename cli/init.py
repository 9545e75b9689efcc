"""`s2s init`: writes a recipe for data."""

from pathlib import Path
from typing import Annotated

import typer

from .options.common import RECIPE, STDOUT, Device, examples, note

EPILOG = examples(
    "s2s init train.de train.en",
    "s2s init pairs.tsv",
    "s2s init pairs.csv --columns german,english --budget '1 h'",
    "s2s init train.tsv valid.tsv test.tsv -o my.yaml",
    "s2s init bentrevett/multi30k",
)


def init(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Two parallel texts, a table (.tsv, .csv, .jsonl, .parquet), several of either "
            "named by split, or a data set's name or folder.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The recipe to write; - is stdout."),
    ] = RECIPE,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE,TARGET",
            help="Columns of a table; by default those whose names or cells look like them.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time for training, such as '15 min' or '2 h'."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing recipe.")] = False,
    device: Device = "auto",
) -> None:
    """Write a recipe for your data.

    Finds out columns and splits, holds out pairs for validation and test where there are none, and
    estimates the time of training. Every line of the recipe has a comment.
    """
    from s2s.errors import UsageError

    names = None if columns is None else columns.split(",")
    if names is not None and len(names) != 2:
        raise UsageError(f"--columns {columns}: expected two names, such as german,english")
    if "-" in data:
        raise UsageError("-: a recipe names its data, so they have to be in files")
    from s2s import pipeline

    made = pipeline.initialize(
        data, path=output, columns=names or (), budget=budget, force=force, device=device
    )
    file = "FILE" if output == STDOUT else output
    command = "s2s train" if output == RECIPE else f"s2s train {file}"
    place = "recipe" if output == STDOUT else made.path
    time = "" if made.minutes is None else f", some {max(1, round(made.minutes))} min here"
    note(f"{place} written for {made.pairs:,} pairs; next: {command}{time}")
