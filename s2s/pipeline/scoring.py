"""Forced decoding of files: the log-probabilities of existing translations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from s2s.errors import DataError
from s2s.inference.load import load_ensemble
from s2s.text.lines import read_lines

if TYPE_CHECKING:
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


def score_pairs(
    *,
    run: Run,
    others: tuple[Run, ...] = (),
    source: Path,
    target: Path,
    output: BinaryIO,
    batch_size: int = 1024,
    device: str = "auto",
    checkpoint: Which = "best",
) -> int:
    """Write a row `line, log_prob, length` (TSV) for every pair of lines; returns their number.

    The length counts the target's tokens and EOS, as in a list of outputs; a blank pair has none.
    With `others`, the runs' models are averaged. Raises DataError for text that is not UTF-8, or
    where one file has more lines.
    """
    from s2s.inference.missing_features import refuse_missing
    from s2s.search.ensemble import forcible
    from s2s.search.forced_decoding import forced

    # A shortlist might lack tokens of the given translations.
    translator = load_ensemble(
        (run, *others), device=device, checkpoint=checkpoint, shortlists=False
    )
    model = forcible(translator.scorer)
    pairs = _pairs(source, target)
    done = 0
    while window := list(islice(pairs, batch_size)):
        read = translator.read([line.strip() and line for line, _ in window])
        translator.report_truncated([reading.ids for reading in read])
        read = [reading.cut(translator.truncate) for reading in read]
        sources = [reading.ids for reading in read]
        targets = translator.read_targets([line.strip() and line for _, line in window], read)
        lines = [line for line, _ in window]
        refuse_missing(translator.features, (lines, read), str(source), done)
        pairs_of_ids = list(zip(sources, targets, strict=True))
        found = forced(model, pairs_of_ids, translator.device, translator.image_features_of(read))
        for log_prob, ids, tokens in zip(found, sources, targets, strict=True):
            done += 1
            is_asked = len(ids) or len(tokens) or translator.features is not None
            length = len(tokens) + 1 if is_asked else 0
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
