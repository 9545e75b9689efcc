"""Arguments and options that several commands share."""

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

    from .search import SearchOptions


RecipePath = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", help="The recipe: one YAML file."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field of the recipe; repeatable."),
]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="The folder that holds the runs.")]
RunName = Annotated[
    str | None,
    typer.Option("--run", metavar="DIR|NAME", help="The run; the newest if not given."),
]
RunTarget = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="The run, by folder or name; the newest if not given."),
]
RunNames = Annotated[
    list[str] | None,
    typer.Option("--run", metavar="DIR|NAME", help="The run, the newest if not given; repeatable."),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        metavar="best|last|STEP|NAME", help="Which checkpoint of the run, or which average."
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Lines read and searched together; the output is the same."
    ),
]
Features = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Features of the ids in the input, the run's own if not given; repeatable.",
    ),
]
FeatureIds = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", help="Line i is the id of row i of --features; for each, in order."
    ),
]

RECIPE = Path("recipe.yaml")
RUNS = Path("runs")


def examples(*lines: str) -> str:
    r"""The epilog of a command's help; `\b` keeps the lines as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def note(text: str) -> None:
    """Say something about the work on stderr; stdout carries the output only."""
    typer.echo(f"s2s: {text}", err=True)


def choose_run(name: str | None, runs: Path) -> "Run":
    """The run that was asked for, else the newest, which is then named on stderr."""
    from s2s.run.directory import find_run, newest_run

    if name is not None:
        return find_run(name, runs)
    run = newest_run(runs)
    note(f"using the newest run, {run.folder}")
    return run


def choose_runs(names: list[str] | None, runs: Path) -> list["Run"]:
    """The runs that were asked for, else the newest alone, as `choose_run` does."""
    from s2s.run.directory import find_run

    return [find_run(name, runs) for name in names] if names else [choose_run(None, runs)]


def choose_checkpoint(text: str) -> "Which":
    """`best`, `last`, a step or a name; raises `UsageError` for anything else."""
    from s2s.errors import UsageError
    from s2s.run.checkpoints import NAME

    if text.isascii() and text.isdigit():
        return int(text)
    if text in ("best", "last") or NAME.fullmatch(text):
        return text
    raise UsageError(
        f"--checkpoint: expected best, last, a number of updates or a name, found {text}"
    )


def choose_features(
    files: list[Path] | None, ids: list[Path] | None
) -> "list[tuple[Path, Path | None]] | None":
    """Files of features with those of their ids; raises `UsageError` for unequal numbers."""
    from s2s.errors import UsageError

    if not files:
        if ids:
            raise UsageError("--feature-ids: expected --features beside it, found none")
        return None
    if ids and len(ids) != len(files):
        raise UsageError(
            f"--feature-ids: expected one for each of {len(files)} --features, found {len(ids)}"
        )
    nothing: list[Path | None] = [None] * len(files)
    return list(zip(files, ids or nothing, strict=True))


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Numbers with commas between; raises `UsageError`."""
    from s2s.errors import UsageError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        what = f"{option}: expected whole numbers with commas between, found {text}"
        raise UsageError(what) from None


def numbers(option: str, text: str) -> tuple[float, ...]:
    """The same of any numbers."""
    from s2s.errors import UsageError

    found: tuple[float, ...] = (math.nan,)
    with suppress(ValueError):
        found = tuple(float(part) for part in text.split(","))
    if not all(map(math.isfinite, found)):
        raise UsageError(f"{option}: expected numbers with commas between, found {text}")
    return found


def choose_search(run: "Run", options: "SearchOptions") -> "Search":
    """The search of the run's recipe with what the command line changes."""
    from s2s.recipe.search_overrides import override

    return override(run.recipe.search, options.choices())
