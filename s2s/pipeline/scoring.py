"""Forced decoding of files: the log-probabilities of existing translations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from s2s.errors import DataError, UsageError
from s2s.inference.load import load_ensemble
from s2s.pipeline.task_checks import refuse_language_models
from s2s.text.lines import read_lines

if TYPE_CHECKING:
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


def score_pairs(
    *,
    run: Run,
    others: tuple[Run, ...] = (),
    source: Path,
    target: Path | None,
    output: BinaryIO,
    batch_size: int = 1024,
    device: str = "auto",
    checkpoint: Which = "best",
) -> int:
    """Write a row `line, log_prob, length` (TSV) for every pair of lines; returns their number.

    The length counts the target's tokens and EOS, as in a list of outputs; a blank pair has none.
    A language model scores each line of `source` by itself, and there is no `target`. With
    `others`, the runs' models are averaged. Raises UsageError for a target too many or too few,
    DataError for text that is not UTF-8, or where one file has more lines.
    """
    from s2s.inference.pair_scores import score_lines

    if target is None:
        for one in (run, *others):
            if one.recipe.task != "lm":
                raise UsageError(
                    f"{one.place}: expected SRC and TGT, a file of sources and one of their "
                    "translations, found one file"
                )
        lines = read_lines(source)
        pairs: Iterator[tuple[str, str]] = ((line, line) for line in lines)
    else:
        refuse_language_models((run, *others), "scores a text, not pairs; leave out TGT")
        pairs = _pairs(source, target)
    # A shortlist might lack tokens of the given translations.
    translator = load_ensemble(
        (run, *others), device=device, checkpoint=checkpoint, shortlists=False
    )
    done = 0
    while window := list(islice(pairs, batch_size)):
        for log_prob, length in score_lines(translator, window, (str(source), done)):
            done += 1
            output.write(f"{done}\t{log_prob:.6f}\t{length}\n".encode())
        output.flush()
    return done


def _pairs(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """The lines of both files in pairs."""
    sources, targets = read_lines(source), read_lines(target)
    for number, line in enumerate(sources, start=1):
        other = next(targets, None)
        if other is None:
            raise DataError(f"{target}: expected as many lines as {source}, found {number - 1}")
        yield line, other
    if next(targets, None) is not None:
        raise DataError(f"{source}: expected as many lines as {target}, found fewer")
