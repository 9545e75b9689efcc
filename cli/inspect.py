"""`s2s inspect`: looks into models: their gradients, their parts."""

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2s.messages import printable

from .options.common import (
    RECIPE,
    RUNS,
    AsJson,
    Checkpoint,
    Device,
    Overrides,
    RunOption,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_run,
    examples,
    note,
    run_of,
    say_json,
)
from .options.completion import run_or_recipe_names
from .options.grouped import grouped
from .options.messages import Quiet, Verbose, remember
from .options.panels import MEASURING, PICTURES, SectionedGroup

if TYPE_CHECKING:
    from rich.table import Table

    from s2s.bench.model_parts import ModelParts
    from s2s.pipeline.gradients import GradientReport

inspect = typer.Typer(
    help="Look into a model: how far its gradients reach, what its parts cost.",
    epilog=examples("s2s inspect gradients --untrained", "s2s inspect model"),
    cls=SectionedGroup,
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
)

WIDEST = 10_000
"""Columns of a table in a file or a pipe."""

SHOWN = (*range(6), 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
"""Lags in the table; --json has all."""


class Side(StrEnum):
    """Parts of a model with recurrent layers."""

    DECODER = "decoder"
    ENCODER = "encoder"


class Split(StrEnum):
    """Splits of a run's data."""

    VALIDATION = "validation"
    TEST = "test"
    TRAIN = "train"


@inspect.callback()
def options(context: typer.Context, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Without a command, print the help."""
    remember(context, quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What gradients are measured on."""

    split: Annotated[
        Split, typer.Option(help="Split of the run's data.", rich_help_panel=MEASURING)
    ] = Split.VALIDATION
    lines: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Read its first N lines.", rich_help_panel=MEASURING),
    ] = 64
    lags: Annotated[
        int,
        typer.Option(
            min=2, metavar="N", help="Go back N steps at most.", rich_help_panel=MEASURING
        ),
    ] = 30


@inspect.command(
    "gradients",
    epilog=examples(
        "s2s inspect gradients",
        "s2s inspect gradients toy --untrained --png gradients.png",
        "s2s inspect gradients --cells lstm,gru,tanh",
        "s2s inspect gradients --side encoder --lags 60 --lines 200",
        "s2s inspect gradients --json > gradients.json",
    ),
)
@grouped
def gradients(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Measure the model before training too.")
    ] = False,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar="KIND,...",
            help="Measure it before training with these cells: lstm, gru, tanh, relu, sru, ssru, "
            "mingru, minlstm.",
        ),
    ] = None,
    side: Annotated[
        Side, typer.Option(help="Layer: the first of the decoder, or of the encoder, forward.")
    ] = Side.DECODER,
    png: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a picture; - for stdout.", rich_help_panel=PICTURES
        ),
    ] = None,
    as_json: AsJson = False,
    extent: Extent,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Measure how far gradients reach back in a run's recurrent layers.

    For each step of the decoder, the gradient of its loss goes back step by step, through the
    recurrence of the first layer alone, exactly. The table has the mean norm after k steps, over
    that after none: where gradients vanish, a layer cannot learn what lies further back. With
    --side encoder, the loss is that of the whole target, and the steps are those of the source.
    """
    from s2s.errors import UsageError
    from s2s.files import write_output
    from s2s.pipeline.gradient_plot import check_plots, draw_gradients
    from s2s.pipeline.gradients import GradientOptions, cell_of, inspect_gradients

    on_stdout = png is not None and str(png) == "-"
    if on_stdout and as_json:
        raise UsageError("--png -, --json: expected one on stdout; give the picture a file")
    if png is not None:
        check_plots()
    kinds = () if cells is None else tuple(kind.strip() for kind in cells.split(","))
    for kind in kinds:
        cell_of(kind)
    found = inspect_gradients(
        choose_run(run_of(run, run_option), runs),
        GradientOptions(
            side=side.value,
            split=extent.split.value,
            lines=extent.lines,
            lags=extent.lags,
            checkpoint=choose_checkpoint(checkpoint),
            untrained=untrained,
            cells=kinds,
            device=device,
        ),
    )
    if png is not None:
        try:
            write_output(png, draw_gradients(found))
        except OSError as error:
            raise UsageError(f"{png}: cannot write it: {error.strerror}") from None
    if as_json:
        say_json(found.as_json())
    elif not on_stdout:
        _print(_gradient_table(found))
    note(found.what)
    if png is not None and not on_stdout:
        note(f"{png} written")


@inspect.command(
    "model",
    epilog=examples(
        "s2s inspect model",
        "s2s inspect model multi30k-de-en",
        "s2s inspect model recipe.yaml --set model.decoder.width=512",
        "s2s inspect model --json",
    ),
)
def model(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|RECIPE",
            help="A run, an exported model, or a recipe (.yaml, - for stdin); by default the "
            "newest run, without one recipe.yaml.",
            autocompletion=run_or_recipe_names,
        ),
    ] = None,
    *,
    run_option: RunOption = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    runs: Runs = RUNS,
) -> None:
    """List a model's parts with their parameters, memory in fp32 and multiply-adds.

    Multiply-adds are those of matrix products, for a pair of sentences, for each source token,
    each target token, and each of these with each of those (attention); ends of sentences are
    tokens. A run need not be trained. Of a recipe without prepared data, vocabularies that depend
    on the data are assumed, which a note says.
    """
    from s2s.errors import UsageError

    chosen = run_of(subject, run_option)
    if chosen is None and not any(runs.glob("*/checkpoints.json")) and RECIPE.exists():
        chosen = subject = str(RECIPE)
    is_recipe = subject is not None and _names_recipe(subject)
    if overrides and not is_recipe:
        raise UsageError("--set: changes a recipe; a run has its own, expected RECIPE")
    from s2s.bench.model_parts import parts_of_draft, parts_of_run
    from s2s.recipe.load import load_draft

    if is_recipe:
        found = parts_of_draft(load_draft(chosen, overrides or ()), runs)
    else:
        found = parts_of_run(choose_run(chosen, runs))
    if as_json:
        say_json(found.as_json())
    else:
        _print(_model_table(found))
    for line in found.notes:
        note(line)


def _names_recipe(name: str) -> bool:
    path = Path(name.removesuffix(".gz"))
    return name == "-" or path.suffix.lower() in (".yaml", ".yml")


def _print(table: "Table") -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(table)
    else:  # as wide as it is
        Console(highlight=False, width=Console(width=WIDEST).measure(table).maximum).print(table)


def _gradient_table(found: "GradientReport") -> "Table":
    """A row for each lag, a column for each curve."""
    from rich.table import Table

    table = Table()
    for name in ("steps back", "averaged", *(curve.name for curve in found.curves)):
        table.add_column(name, justify="right", overflow="fold")
    last = len(found.counts) - 1
    for lag in (*(one for one in SHOWN if one < last), last):
        shares = [f"{curve.relative[lag]:.3g}" for curve in found.curves]
        table.add_row(str(lag), f"{found.counts[lag]:,}", *shares, end_section=lag == last)
    table.add_row("norm at 0", "", *(f"{curve.norms[0]:.3g}" for curve in found.curves))
    tenths = ("-" if curve.tenth is None else str(curve.tenth) for curve in found.curves)
    table.add_row("to a tenth", "", *tenths)
    return table


def _model_table(found: "ModelParts") -> "Table":
    """A row for each part, and their sum."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    total = found.total
    has_regions = any(part.region for part in found.parts)
    columns = ("sentence", "source", *(("region",) if has_regions else ()), "target", "pair")
    title = Text(f"{printable(found.model)}: parameters, and multiply-adds per pair and token")
    table = Table(title=title, title_justify="left", show_footer=True, box=SIMPLE_HEAD)
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    table.add_column("part", "total", no_wrap=True)
    table.add_column("parameters", f"{total.parameters:,}", justify="right", overflow="fold")
    table.add_column("share", justify="right", overflow="fold")
    table.add_column("MB", f"{total.parameters * 4 / 1e6:.2f}", justify="right", overflow="fold")
    for name in columns:
        summed = "" if name == "region" else f"{getattr(total, name):,}"
        table.add_column(HEADS[name], summed, justify="right", overflow="fold")
    for part in found.parts:
        counts = [getattr(part, name) for name in columns]
        table.add_row(
            f"{part.name} (tied)" if part.is_tied else part.name,
            f"{part.parameters:,}",
            f"{part.parameters / total.parameters:.1%}",
            f"{part.parameters * 4 / 1e6:.2f}",
            *(f"{count:,}" if count else "" for count in counts),
        )
    return table


HEADS = {
    "sentence": "pair",
    "source": "source",
    "region": "region",
    "target": "target",
    "pair": "both",
}
"""Headings of the columns of multiply-adds."""
