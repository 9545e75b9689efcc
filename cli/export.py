"""`s2s export`: a run's model as one file or folder."""

from pathlib import Path
from typing import Annotated

import typer

from s2s.recipe.choices import SearchPrecision

from .options.common import (
    RUNS,
    Checkpoint,
    RunOption,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_run,
    examples,
    note,
    run_of,
)

EPILOG = examples(
    "s2s export",
    "s2s export runs/multi30k-de-en -o de-en.s2s --precision int8 --license cc-by-4.0",
    "s2s export runs/multi30k-de-en -o de-en",
    "s2s translate --run de-en.s2s < input.txt",
)

Precision = Annotated[
    SearchPrecision | None,
    typer.Option(
        help="Store the matrices of search in fp32 (default), bf16 or int8, and search in it."
    ),
]
License = Annotated[
    str | None,
    typer.Option(
        "--license", metavar="ID", help="Licence in the model card, such as cc-by-4.0 or mit."
    ),
]
Languages = Annotated[
    list[str] | None,
    typer.Option("--language", metavar="CODE", help="Language in the model card; repeatable."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an exported model that is there.")]


def export(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="A file NAME.s2s, or a folder; by default a file named like the run.",
        ),
    ] = None,
    precision: Precision = None,
    license_: License = None,
    languages: Languages = None,
    force: Force = False,
    checkpoint: Checkpoint = "best",
    runs: Runs = RUNS,
) -> None:
    """Export a model: all that translating needs, as one file or folder.

    It holds recipe, tokenizers, weights of one checkpoint, the shortlist if there is one, versions,
    and a model card with scores. Every option --run reads it. In bf16 and int8 the output is that
    of the run under the same --precision.
    """
    chosen = choose_run(run_of(run, run_option), runs)
    which = choose_checkpoint(checkpoint)
    from s2s.pipeline.exporting import ExportOptions
    from s2s.pipeline.exporting import export as make
    from s2s.pipeline.model_card import CardOptions

    card = CardOptions(license=license_, languages=tuple(languages or ()))
    options = ExportOptions(checkpoint=which, precision=precision, card=card)
    note(str(make(chosen, output, options, force=force)))
