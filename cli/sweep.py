"""`s2s sweep`: trains a recipe with several settings and compares them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2s.messages import printable

from .options.common import RECIPE, RUNS, AsJson, Device, Runs, examples, note, say, say_json

if TYPE_CHECKING:
    from s2s.pipeline.sweep_results import Sweep

EPILOG = examples(
    "s2s sweep --set train.optimizer.learning_rate=1e-3,3e-4",
    "s2s sweep my.yaml --set model.decoder.width=128,256 --set seed=1,2,3 --set train.epochs=10",
    "s2s sweep --set metrics=[bleu,chrf],[chrf] --set 'tokenizer={kind: bpe},{kind: unigram}'",
    "s2s sweep --set train.label_smoothing=0,0.1 --set model.dropout.embedding=0,0.1,0.2,0.3 "
    "--random 5",
    "s2s sweep --set train.optimizer.learning_rate=1e-3,3e-4 --list",
)


def sweep(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="The recipe: one YAML file.")
    ] = RECIPE,
    *,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="A.B=X,Y,...",
            help="Values of a field of the recipe; one alone is set, several are varied; "
            "repeatable. A list, a section or a text with a comma is written as in YAML.",
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            "--random",
            min=1,
            metavar="N",
            help="Train N of all combinations, drawn at random; by default train all.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of --random.")] = 1,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Validation score to sort by: bleu, chrf, loss, ...; by default the recipe's "
            "train.best.",
        ),
    ] = None,
    lists: Annotated[
        bool,
        typer.Option("--list", help="Train nothing; print the settings and their results so far."),
    ] = False,
    as_json: AsJson = False,
    runs: Runs = RUNS,
    device: Device = "auto",
    workers: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Train each with N processes on a core each (CPU)."),
    ] = 1,
) -> None:
    """Train a recipe with several settings and compare their validation.

    Trains every combination of the values, each as a run that is named by them, and prints a table,
    the best first. The same command continues after an interruption: finished runs are skipped.
    Several of the same command, in several terminals, share the work.

    The exit status is 1 if a setting failed; the others are trained nevertheless.
    """
    from s2s.errors import UsageError

    if not values:
        raise UsageError("sweep: expected --set A.B=X,Y,..., the values to compare")
    if str(recipe) == "-":
        raise UsageError("-: a sweep reads its recipe once for each setting; expected a file")
    from s2s.pipeline.sweeping import SweepOptions
    from s2s.pipeline.sweeping import sweep as train_all

    options = SweepOptions(
        count=random, seed=seed, metric=metric, runs=runs, device=device, workers=workers
    )
    found = train_all(recipe, values, options, report=_show, trains=not lists)
    if as_json:
        say_json(found.as_json())
    else:
        for line in found.lines():
            say(line)
    if others := found.count("in use"):
        note(f"{others} of {len(found.settings)} are trained by another process")
    if failed := found.count("failed"):
        note(
            f"{failed} of {len(found.settings)} settings failed; the same command tries them again"
        )
        raise typer.Exit(1)


def _show(found: "Sweep") -> None:
    """The table so far, on stderr, once there is something to compare."""
    if any(one.state != "waiting" for one in found.settings):
        for line in found.lines(is_brief=True):
            typer.echo(printable(line), err=True)
