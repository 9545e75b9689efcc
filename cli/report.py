"""`s2s report`: one HTML page about a run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options.common import (
    RUNS,
    STDOUT,
    BatchSize,
    Checkpoint,
    Device,
    RunOption,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_run,
    choose_search,
    examples,
    note,
    run_of,
)
from .options.grouped import grouped
from .options.search import SearchOptions

EPILOG = examples(
    "s2s report",
    "s2s report multi30k-de-en --output report.html",
    "s2s report --split validation --beam 10",
    "s2s report --limit 500 --samples 20",
    "s2s report --limit 0 --output - > curves.html",
)


class ReportSplit(StrEnum):
    """Splits that a report translates."""

    TEST = "test"
    VALIDATION = "validation"


@grouped
def report(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page, by default RUN.html here (also .gz); - for stdout.",
        ),
    ] = None,
    split: Annotated[
        ReportSplit | None,
        typer.Option(help="Split to translate; by default test, or validation without one."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Translate only the first N lines; 0 for none."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Lines of each list: best, worst, samples.")
    ] = 10,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Translate again, though outputs were kept.")
    ] = False,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    search: SearchOptions,
    device: Device = "auto",
    batch_size: BatchSize = 1024,
) -> None:
    """Write one HTML page about a run.

    The page has the recipe, the data, the curves of training, scores with their signatures, scores
    by source length, the best and the worst lines, attention, and the environment. It needs no
    network and no other file. Outputs are kept in the run's folder, so that the next report is
    quick.
    """
    which = choose_checkpoint(checkpoint)
    chosen = choose_run(run_of(run, run_option), runs)
    settings = choose_search(chosen, search)
    from s2s.errors import UsageError
    from s2s.files import write_output
    from s2s.report.build_page import ReportOptions, report_page

    options = ReportOptions(
        split=None if split is None else split.value,
        search=settings,
        checkpoint=which,
        limit=limit,
        num_samples=samples,
        device=device,
        batch_size=batch_size,
        fresh=fresh,
    )
    page = report_page(chosen, options, note)
    target = output or Path(f"{chosen.name}.html")
    if target == STDOUT:
        write_output(target, page)
        return
    try:
        write_output(target, page)
    except OSError as error:
        raise UsageError(f"{target}: cannot write it: {error.strerror}") from None
    note(f"{target} written, {len(page) / 1e6:.1f} MB")
