"""Arguments and options of several commands."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2s.messages import printable, printable_json

from .completion import checkpoint_names, run_names
from .panels import PLACES, SPEED, wrap_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

    from .search import SearchOptions


RecipePath = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", help="The recipe: one YAML file, or - for stdin."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Set a field of the recipe; repeatable."),
]
Runs = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder of the runs.", rich_help_panel=PLACES)
]
TunedMetric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Metric to optimize: bleu, chrf, cer, ...; by default that of training.",
    ),
]
RunTarget = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Folder or name of the run, or an exported model; by default the newest run.",
        autocompletion=run_names,
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="The same as RUN.", autocompletion=run_names),
]
RunNames = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="A run's folder or name, a file of 's2s export', or owner/name on the hub; by default "
        "the newest run. Repeat it to average several models.",
        autocompletion=run_names,
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        metavar="best|last|STEP|NAME",
        help="Checkpoint of the run: the best on validation, the last, that of an update, or one "
        "with a name, such as an average.",
        rich_help_panel=PLACES,
        autocompletion=checkpoint_names,
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Device to compute on.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Lines read at a time. Outputs do not depend on it.",
        rich_help_panel=SPEED,
    ),
]
Features = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Image features of the ids in the input; by default the run's own; repeatable.",
        rich_help_panel=PLACES,
    ),
]
FeatureIds = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Ids of the rows of --features, a line each; one file for each of them, in order.",
        rich_help_panel=PLACES,
    ),
]

RECIPE = Path("recipe.yaml")
STDIN = STDOUT = Path("-")
"""The name of stdin as an input, of stdout as an output."""
RUNS = Path("runs")


def examples(*lines: str) -> str:
    r"""The epilog of a command's help; `\b` keeps the lines as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def say(text: str) -> None:
    """Print a line on stdout for a reader."""
    typer.echo(printable(text))


def say_json(content: Any) -> None:
    """Print JSON on stdout, for a program or a reader."""
    typer.echo(printable_json(content))


def note(text: str) -> None:
    """Print a line on stderr; stdout is for output alone."""
    write_wrapped(f"s2s: {text}", _terminal_width())


def write_wrapped(text: str, width: int | None) -> None:
    """Print a line on stderr, between words in several where it is wider than `width`."""
    text = printable(text)
    lines = [text] if width is None or len(text) <= width else wrap_words(text, width)
    typer.echo("\n".join(lines), err=True)


def _terminal_width() -> int | None:
    """The columns of the terminal that stderr is; None for a file or a pipe, whose lines stay
    lines."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    with suppress(KeyError, ValueError):
        return int(os.environ["COLUMNS"])
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns
    return None


def read_stdin_once(**inputs: "Path | Sequence[Path] | None") -> None:
    """Refuse `-` for more than one of a command's inputs, which are named like their options.

    None is no stdin: who reads it by default passes `Path("-")`. Nor can several processes of
    torchrun read one stdin. Raises UsageError.
    """
    from s2s.errors import UsageError
    from s2s.text.lines import STANDARD
    from s2s.training.distributed.launch import is_launched

    found = [
        name.upper() if name.isupper() else f"--{name.replace('_', '-')}"
        for name, given in inputs.items()
        for one in (given if isinstance(given, list | tuple) else [given])
        if one is not None and str(one) == STANDARD
    ]
    if found and is_launched():
        raise UsageError(
            f"{found[0]}: torchrun has started several processes, which cannot read one stdin; "
            "name a file"
        )
    if len(found) > 1:
        raise UsageError(
            f"{', '.join(found)}: stdin can be read only once; give all but one of them a file"
        )


def file_or_standard(path: Path | None) -> Path | None:
    """The path of a file; None for stdin or stdout."""
    return None if path is None or path == STDIN else path


def choose_run(name: str | None, runs: Path) -> "Run":
    """The named run, else the newest, whose folder is then printed on stderr."""
    from s2s.run.finding import find_run, newest_run

    if name is not None:
        return find_run(name, runs)
    run = newest_run(runs)
    note(f"using the newest run, {run.folder}")
    return run


def run_of(argument: str | None, option: str | None) -> str | None:
    """The run that is named as an argument or by --run. Raises UsageError for both."""
    if argument is not None and option is not None:
        from s2s.errors import UsageError

        raise UsageError(f"RUN, --run: expected one of them, found {argument} and {option}")
    return option if argument is None else argument


def choose_runs(names: list[str] | None, runs: Path, argument: str | None = None) -> list["Run"]:
    """The runs named by --run, or the one of an argument, else the newest, as in `choose_run`."""
    from s2s.run.finding import find_run

    if argument is not None:
        names = [name for name in (run_of(argument, " ".join(names or ()) or None),) if name]
    return [find_run(name, runs) for name in names] if names else [choose_run(None, runs)]


def choose_checkpoint(text: str) -> "Which":
    """`best`, `last`, a step or a name; raises `UsageError` for anything else."""
    from s2s.run.checkpoints import read_which

    return read_which(text, "--checkpoint")


def choose_features(
    files: list[Path] | None, ids: list[Path] | None
) -> "list[tuple[Path, Path | None]] | None":
    """Files of image features, each with its ids; raises `UsageError` for unequal numbers."""
    from s2s.errors import UsageError

    if not files:
        if ids:
            raise UsageError("--feature-ids: needs --features")
        return None
    if ids and len(ids) != len(files):
        raise UsageError(
            f"--feature-ids: expected one for each of {len(files)} --features, found {len(ids)}"
        )
    nothing: list[Path | None] = [None] * len(files)
    return list(zip(files, ids or nothing, strict=True))


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas; raises `UsageError` for other text."""
    from s2s.errors import UsageError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        what = f"{option}: expected whole numbers separated by commas, found {text}"
        raise UsageError(what) from None


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Finite numbers separated by commas; raises `UsageError` for other text."""
    from s2s.errors import UsageError

    found: tuple[float, ...] = (math.nan,)
    with suppress(ValueError):
        found = tuple(float(part) for part in text.split(","))
    if not all(map(math.isfinite, found)):
        raise UsageError(f"{option}: expected numbers separated by commas, found {text}")
    return found


def choose_search(run: "Run", options: "SearchOptions") -> "Search":
    """The search section of the run's recipe with the values of the command line."""
    from s2s.recipe.search_overrides import override

    return override(run.recipe.search, options.choices())
