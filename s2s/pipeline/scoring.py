"""Forced decoding of files: the log-probabilities of existing translations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from s2s.errors import DataError
from s2s.inference.load import load_ensemble
from s2s.text.lines import read_lines

if TYPE_CHECKING:
    from s2s.inference.translator import LineTranslator
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
    # A shortlist might lack tokens of the given translations.
    translator = load_ensemble(
        (run, *others), device=device, checkpoint=checkpoint, shortlists=False
    )
    pairs = _pairs(source, target)
    done = 0
    while window := list(islice(pairs, batch_size)):
        for score in score_window(translator, window, str(source), done):
            done += 1
            output.write(f"{done}\t{score.log_prob:.6f}\t{score.length}\n".encode())
        output.flush()
    return done


class PairScore(NamedTuple):
    """The score of a given translation."""

    log_prob: float
    """Natural logarithm of its probability, end of sentence included."""
    length: int
    """The number of tokens in `log_prob`, end of sentence included; 0 for a blank pair."""

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token; 0 for a blank pair."""
        return self.log_prob / max(self.length, 1)


def score_window(
    translator: LineTranslator, pairs: Sequence[tuple[str, str]], name: str, first: int
) -> list[PairScore]:
    """Scores of pairs of lines, all at once; `first` is the place of the first in the input `name`.

    The translator has no shortlist. Raises DataError for a line whose image features are missing.
    """
    from s2s.inference.missing_features import refuse_missing
    from s2s.search.ensemble import forcible
    from s2s.search.forced_decoding import forced

    lines = [line for line, _ in pairs]
    read = translator.read([line.strip() and line for line in lines])
    translator.report_truncated([reading.ids for reading in read])
    read = [reading.cut(translator.truncate) for reading in read]
    sources = [reading.ids for reading in read]
    targets = translator.read_targets([line.strip() and line for _, line in pairs], read)
    refuse_missing(translator.features, (lines, read), name, first)
    found = forced(
        forcible(translator.scorer),
        list(zip(sources, targets, strict=True)),
        translator.device,
        translator.image_features_of(read),
    )
    scores = []
    for log_prob, ids, tokens in zip(found, sources, targets, strict=True):
        is_asked = len(ids) or len(tokens) or translator.features is not None
        scores.append(PairScore(log_prob, len(tokens) + 1 if is_asked else 0))
    return scores


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
