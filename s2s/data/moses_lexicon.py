"""Lexical probabilities from files: the `lex` files of Moses and Marian.

A line is `target source probability`, where the probability is p(target | source): what Moses
writes as `lex.e2f`, and what Marian reads after `--shortlist`. `NULL` is the empty word.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from s2s.data.ibm_model1 import Cells
from s2s.errors import DataError
from s2s.special import SPECIAL_PIECES
from s2s.text.lines import name_of, read_lines
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import TokenizerPair

EMPTY = "NULL"
SPACE = "▁"
"""The space of subword tokenizers; a file that has it lists subwords, not words."""

Entry = tuple[str, str, float]


def read_cells(path: Path, tokenizers: TokenizerPair) -> Cells:
    """The file's probabilities for ids of these tokenizers.

    If any entry has a `▁`, all are tokens as the tokenizers write them. Otherwise they are words,
    and every token of a word translates into every token of the other. Of several probabilities of
    the same tokens, the largest counts. Unknown tokens are dropped. Raises DataError, with file and
    line, for an invalid line.
    """
    entries = list(_entries(path))
    is_pieces = any(SPACE in target or SPACE in source for target, source, _ in entries)
    targets = _ids(tokenizers.target, [target for target, _, _ in entries], is_pieces)
    sources = _ids(tokenizers.source, [source for _, source, _ in entries], is_pieces)
    probs: dict[tuple[int, int], float] = {}
    for target, source, prob in entries:
        for one in sources[source]:
            for other in targets[target]:
                probs[one, other] = max(prob, probs.get((one, other), 0.0))
    if not probs:
        raise DataError(
            f"{path}: none of its {len(entries):,} entries is of the run's tokens; expected lines "
            "'target source probability', in words or as the tokenizer writes its tokens"
        )
    pairs = np.array(sorted(probs), dtype=np.int64)
    values = np.array([probs[one, other] for one, other in pairs.tolist()])
    return Cells(pairs[:, 0], pairs[:, 1], values)


def _entries(path: Path) -> Iterator[Entry]:
    """Target, source and probability of every line, except those of the empty word."""
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or not _is_probability(fields[2]):
            raise DataError(
                f"{name_of(path)}:{number}: expected 'target source probability', found "
                f"{line.strip()[:60]!r}"
            )
        if EMPTY not in fields[:2]:
            yield fields[0], fields[1], float(fields[2])


def _is_probability(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and 0.0 <= value <= 1.0


def _ids(tokenizer: Tokenizer, entries: Sequence[str], is_pieces: bool) -> dict[str, list[int]]:
    """Ids of every entry; none for an unknown one."""
    different = sorted(set(entries))
    if is_pieces:
        known = {piece: id_ for id_, piece in enumerate(tokenizer.pieces(range(tokenizer.size)))}
        return {entry: _real([known[entry]] if entry in known else []) for entry in different}
    found = tokenizer.encode(different)
    return {entry: _real(ids) for entry, ids in zip(different, found, strict=True)}


def _real(ids: Iterable[int]) -> list[int]:
    return [id_ for id_ in ids if id_ >= len(SPECIAL_PIECES)]
