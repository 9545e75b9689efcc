"""`s2s tune-rerank`: finds the weights of a reranking on validation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import (
    RUNS,
    AsJson,
    Checkpoint,
    Device,
    RunOption,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_run,
    examples,
    note,
    run_of,
    say,
    say_json,
)
from .options.completion import run_names

if TYPE_CHECKING:
    from s2s.run.directory import Run

EPILOG = examples(
    "s2s tune-rerank multi30k-de-en --reverse runs/multi30k-en-de",
    "s2s tune-rerank multi30k-de-en --reverse runs/multi30k-en-de --lm runs/news-lm --metric chrf",
    "s2s translate --run multi30k-de-en --search rerank < input.txt",
)


def tune_rerank(
    run: RunTarget = None,
    *,
    run_option: RunOption = None,
    reverse: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Run that translates the other way: log-probability of the source.",
            autocompletion=run_names,
        ),
    ] = None,
    lm: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Language model (task: lm) of the outputs: their log-probability.",
            autocompletion=run_names,
        ),
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=2, max=1000, metavar="N", help="Width of the beam to rerank.")
    ] = 20,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Metric to optimize: bleu, chrf, cer, ...; by default that of training.",
        ),
    ] = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Tune a reranking of a beam's outputs on validation.

    The weights of the log-probability, of the length, and where given of the log-probabilities of
    --reverse and --lm are written into the run's folder, for --search rerank. The test set is not
    read.
    """
    which = choose_checkpoint(checkpoint)
    chosen = choose_run(run_of(run, run_option), runs)
    others = [_find("--reverse", reverse, runs), _find("--lm", lm, runs)]
    from s2s.pipeline.rerank_tuning import tune_rerank as tune

    found = tune(
        run=chosen,
        reverse=others[0],
        lm=others[1],
        candidates=candidates,
        metric=metric,
        device=device,
        checkpoint=which,
    )
    if as_json:
        say_json({"run": str(chosen.folder), "checkpoint": checkpoint, **found.as_json()})
    else:
        for line in found.lines():
            say(line)
    note(f"{found.path}: written; --search rerank --candidates {candidates} uses it")


def _find(option: str, name: str | None, runs: Path) -> "Run | None":
    """The named run; raises `UsageError`, with the option, where there is none."""
    if name is None:
        return None
    from s2s.errors import UsageError
    from s2s.run.finding import find_run

    try:
        return find_run(name, runs)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from error
