"""`s2s translate`: lines in, lines out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from .options import (
    RUNS,
    BatchSize,
    Beam,
    Checkpoint,
    Device,
    LengthPenalty,
    RunName,
    Runs,
    SearchChoice,
    choose_checkpoint,
    choose_run,
    choose_search,
    examples,
)

EPILOG = examples(
    "s2s translate < input.txt > output.txt",
    "s2s translate --run runs/multi30k-de-en --beam 10 --input test.de --output test.en",
    "echo 'Ein Hund schläft.' | s2s translate --search greedy",
)


def translate(
    *,
    run: RunName = None,
    runs: Runs = RUNS,
    source: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="Read FILE instead of stdin.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write FILE instead of stdout.")
    ] = None,
    checkpoint: Checkpoint = "best",
    search: SearchChoice = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    batch_size: BatchSize = 1024,
    device: Device = "auto",
) -> None:
    """Translate stdin to stdout, a line for a line."""
    chosen = choose_run(run, runs)
    settings = choose_search(chosen, search, beam, length_penalty)
    which = choose_checkpoint(checkpoint)
    _refuse_same(source, target)
    from s2s import pipeline

    with _opened(source, "rb") as lines, _opened(target, "wb") as output:
        pipeline.translate(
            run=chosen,
            source=lines,
            target=output,
            search=settings,
            batch_size=batch_size,
            device=device,
            checkpoint=which,
        )


def _refuse_same(source: Path | None, target: Path | None) -> None:
    """Opening the output would empty the input before a line of it was read."""
    from s2s.errors import UsageError

    if source and target and target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target}: expected an output other than the input")


@contextmanager
def _opened(path: Path | None, mode: Literal["rb", "wb"]) -> Iterator[BinaryIO]:
    """The file, or the standard stream where there is none; raises `DataError`."""
    from s2s.errors import DataError

    if path is None:
        yield sys.stdin.buffer if mode == "rb" else sys.stdout.buffer
        return
    try:
        file = path.open(mode)
    except OSError as error:
        verb = "read" if mode == "rb" else "write"
        raise DataError(f"{path}: cannot {verb} it: {error.strerror}") from None
    with file:
        yield file
