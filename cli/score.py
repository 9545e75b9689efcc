"""`s2s score`: scores given translations with a model."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options.common import (
    RUNS,
    AsJson,
    BatchSize,
    Checkpoint,
    Device,
    RunNames,
    Runs,
    choose_checkpoint,
    choose_runs,
    examples,
    read_stdin_once,
    say_json,
)

EPILOG = examples(
    "s2s score test.de test.en",
    "s2s score --run runs/multi30k-de-en test.de output.en > scores.tsv",
    "s2s score test.de - < output.en",
    "s2s score --run runs/one --run runs/two test.de test.en",
    "s2s score --run runs/ptb-small text.txt",
)


def score(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Source text, one sentence per line; - is stdin.")
    ],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TGT]",
            help="Translations: line i is that of line i of SRC; - is stdin. None for a language "
            "model, which scores SRC.",
        ),
    ] = None,
    *,
    run: RunNames = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    batch_size: BatchSize = 1024,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Score given translations, or with a language model a text.

    Prints line, log-probability and length of each translation, as TSV.

    The log-probability is the sum over the tokens of the translation and the end of sentence, as in
    search, and the length is their number. With several --run, the models' probabilities are
    averaged.
    """
    read_stdin_once(SRC=source, TGT=target)
    chosen, *others = choose_runs(run, runs)
    which = choose_checkpoint(checkpoint)
    from s2s.pipeline.scoring import score_pairs

    rows = io.BytesIO()
    count = score_pairs(
        run=chosen,
        others=tuple(others),
        source=source,
        target=target,
        output=rows if as_json else sys.stdout.buffer,
        batch_size=batch_size,
        device=device,
        checkpoint=which,
    )
    if as_json:
        pairs = [line.split("\t") for line in rows.getvalue().decode().splitlines()]
        listed = [
            {"line": int(line), "log_prob": float(log_prob), "length": int(length)}
            for line, log_prob, length in pairs
        ]
        found = {"runs": [str(one.folder) for one in (chosen, *others)], "lines": count}
        total = sum(pair["log_prob"] for pair in listed)
        say_json({**found, "log_prob": round(total, 6), "scores": listed})
