"""`s2s bench`: measures the speed of s2s on this machine."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import RECIPE, RUNS, Device, Overrides, Runs, examples, note
from .options.completion import run_names
from .options.grouped import grouped
from .options.panels import MEASURING

if TYPE_CHECKING:
    from s2s.bench.comparison import Peer
    from s2s.bench.measure import Plan
    from s2s.bench.report import Part, Report
    from s2s.recipe.recipe import Recipe
    from s2s.run.directory import Run

SHIPPED = "multi30k-de-en"
"""The recipe that is measured by default."""

QUICK_COMMANDS = ["train", "translate"]
"""Commands that a quick measurement starts."""

START = (sys.executable, "-c", "from s2s_cli.main import main; main()")
"""Command that starts the program in its own process."""

EPILOG = examples(
    "s2s bench",
    "s2s bench my.yaml --quick",
    "s2s bench --run runs/multi30k-de-en --only training,decoding",
    "s2s bench --only training,decoding --workers 2",
    "s2s bench --compare opennmt=onmt/bin/python",
    "s2s bench --json > bench.json",
    "s2s bench --show bench.json --markdown",
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Extent of the measurement."""

    only: Annotated[
        str | None,
        typer.Option(
            metavar="PART,...",
            help="Parts: matmul, training, decoding, prep, startup; by default all.",
            rich_help_panel=MEASURING,
        ),
    ] = None
    repeats: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Number of measurements.", rich_help_panel=MEASURING),
    ] = 5
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Measure less, in about a minute.", rich_help_panel=MEASURING),
    ] = False
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Threads of PyTorch; by default as in training.",
            rich_help_panel=MEASURING,
        ),
    ] = None
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Also train and decode with N processes, each on a core (CPU).",
            rich_help_panel=MEASURING,
        ),
    ] = 1
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="TOOLKIT[=PYTHON]",
            help="Compare with a toolkit, in turns: opennmt or marian, installed in PYTHON, by "
            "default this one. Without --only nothing else is measured.",
            rich_help_panel=MEASURING,
        ),
    ] = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Format of the results."""

    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown.")] = (
        False
    )
    show: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Show results of --json, in a file or - for stdin, without measuring.",
        ),
    ] = None


@grouped
def bench(
    context: typer.Context,
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE", help=f"The recipe; by default recipe.yaml or {SHIPPED}."),
    ] = None,
    overrides: Overrides = None,
    *,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|NAME",
            help="A trained run with its weights and data.",
            autocompletion=run_names,
        ),
    ] = None,
    runs: Runs = RUNS,
    measured: Measured,
    shown: Shown,
) -> None:
    """Measure the speed of s2s on this machine.

    A recipe is measured with random weights and random sentences of realistic lengths, without
    data; a run with its own weights and data. Every measurement is repeated, in turns: results are
    medians, with minimum and maximum. Ctrl-C prints the results so far.
    """
    from s2s.errors import Interrupted, UsageError

    if shown.as_json and shown.as_markdown:
        raise UsageError("--json, --markdown: expected one of them")
    peer = _peer(measured.compare)
    parts = _parts(measured.only, has_peer=peer is not None)
    if shown.show is not None:
        from s2s.bench.report import read_report

        _print(read_report(shown.show), shown)
        return
    if run is not None and (recipe is not None or overrides):
        raise UsageError("--run: a run has its own recipe; leave RECIPE and --set out")
    if measured.workers > 1 and not {"training", "decoding"} & {*parts}:
        raise UsageError(
            "--workers: is for training and decoding; add one of them to --only, or leave it out"
        )
    subject = _subject(recipe, overrides, run, runs)
    commands = sorted(context.find_root().command.list_commands(context))  # type: ignore[attr-defined]
    from s2s.bench.measure import measure
    from s2s.pipeline.progress import progress

    with progress() as callback:
        report = measure(subject, _plan(measured, parts, commands, peer), callback)
    _print(report, shown)
    if not report.is_complete:
        raise Interrupted("stopped before the end", signal.SIGINT)


def _plan(
    measured: Measured, parts: "tuple[Part, ...]", commands: list[str], peer: "Peer | None"
) -> "Plan":
    from s2s.bench.measure import QUICK, Amounts, Plan
    from s2s.bench.startup import Program

    started = QUICK_COMMANDS if measured.quick else commands
    return Plan(
        only=parts,
        repeats=measured.repeats,
        threads=measured.threads,
        workers=measured.workers,
        device=measured.device,
        compare=peer,
        amounts=QUICK if measured.quick else Amounts(),
        program=Program(start=START, commands=((), *((name,) for name in started))),
    )


def _peer(compare: str | None) -> "Peer | None":
    """The toolkit and the Python in --compare."""
    from s2s.bench.comparison import Peer
    from s2s.bench.toolkits import BY_NAME
    from s2s.errors import UsageError

    if compare is None:
        return None
    name, _, python = compare.partition("=")
    for toolkit in BY_NAME.values():
        if toolkit.name == name:
            return Peer(name=toolkit.name, python=python or sys.executable)
    raise UsageError(f"--compare: expected one of {', '.join(BY_NAME)}, found {name!r}")


def _parts(only: str | None, *, has_peer: bool) -> "tuple[Part, ...]":
    """The parts in --only, in the order of all parts; without it all, or none beside a peer."""
    from s2s.bench.report import PARTS
    from s2s.errors import UsageError

    if only is None:
        return () if has_peer else PARTS
    wanted = [name.strip() for name in only.split(",")]
    for name in wanted:
        if name not in PARTS:
            raise UsageError(f"--only: expected some of {', '.join(PARTS)}, found {name!r}")
    return tuple(part for part in PARTS if part in wanted)


def _subject(
    recipe: Path | None, overrides: list[str] | None, run: str | None, runs: Path
) -> "Recipe | Run":
    from s2s.errors import UsageError
    from s2s.recipe.load import load_recipe, shipped_recipes
    from s2s.run.finding import find_run

    if run is not None:
        found = find_run(run, runs)
        if found.is_exported:
            raise UsageError(f"{found.place}: an exported model, and this measures training too")
        return found
    if recipe is None and not RECIPE.exists():
        recipe = next(one.path for one in shipped_recipes() if one.name == SHIPPED)
        note(f"no {RECIPE} here: measuring the sizes of {SHIPPED}")
    return load_recipe(recipe, overrides or ())


def _print(report: "Report", shown: Shown) -> None:
    from rich.console import Console

    from s2s.bench.tables import markdown, notes, print_tables

    if shown.as_json:
        typer.echo(report.to_json())
    elif shown.as_markdown:
        typer.echo(markdown(report), nl=False)
    else:
        print_tables(report, Console(width=None if sys.stdout.isatty() else 120))
    if not shown.as_markdown:
        for line in notes(report):
            note(line)
