"""`s2s tune-rerank`: finds the weights of a reranking on validation."""

from typing import Annotated

import typer

from .options.common import (
    RUNS,
    AsJson,
    Checkpoint,
    Device,
    RunOption,
    Runs,
    RunTarget,
    TunedMetric,
    choose_checkpoint,
    choose_run,
    examples,
    note,
    run_of,
    say,
    say_json,
)
from .options.completion import run_names

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
    metric: TunedMetric = None,
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
    from s2s.pipeline.rerank_tuning import tune_rerank as tune
    from s2s.run.finding import find_named_run

    found = tune(
        run=chosen,
        reverse=None if reverse is None else find_named_run("--reverse", reverse, runs),
        lm=None if lm is None else find_named_run("--lm", lm, runs),
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
