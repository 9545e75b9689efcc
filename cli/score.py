"""`s2s score`: scores given translations with a model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options.common import (
    RUNS,
    BatchSize,
    Checkpoint,
    Device,
    RunNames,
    Runs,
    choose_checkpoint,
    choose_runs,
    examples,
)

EPILOG = examples(
    "s2s score test.de test.en",
    "s2s score --run runs/multi30k-de-en test.de output.en > scores.tsv",
    "s2s score --run runs/one --run runs/two test.de test.en",
)


def score(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Source text, one sentence per line.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TGT", help="Translations: line i is that of line i of SRC.")
    ],
    *,
    run: RunNames = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    batch_size: BatchSize = 1024,
    device: Device = "auto",
) -> None:
    """Score given translations: line, log-probability and length of each, as TSV.

    The log-probability is the sum over the tokens of the translation and the end of sentence, as in
    search, and the length is their number. With several --run, the models' probabilities are
    averaged.
    """
    chosen, *others = choose_runs(run, runs)
    which = choose_checkpoint(checkpoint)
    from s2s.pipeline.scoring import score_pairs

    score_pairs(
        run=chosen,
        others=tuple(others),
        source=source,
        target=target,
        output=sys.stdout.buffer,
        batch_size=batch_size,
        device=device,
        checkpoint=which,
    )
