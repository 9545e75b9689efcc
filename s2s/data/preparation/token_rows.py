"""Rows of ids: encoded, cut, chosen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s2s.data.store import Encoded
from s2s.text.tokenizer import Tokenizer
from s2s.text.word_encoder import rows_of


def encode(tokenizer: Tokenizer, lines: Sequence[str]) -> Encoded:
    """The ids of lines, concatenated."""
    return concatenate(tokenizer.encode(lines))


def empty(count: int) -> Encoded:
    """Rows without ids."""
    return Encoded(np.zeros(0, dtype=np.int32), np.zeros(count, dtype=np.int64))


def concatenate(ids: Sequence[Sequence[int]]) -> Encoded:
    """Lists of ids, concatenated."""
    return Encoded(*rows_of(ids))


def truncate_rows(rows: Encoded, most: int | None) -> tuple[Encoded, NDArray[np.int64]]:
    """The first `most` ids of each row, and the number that each has lost, int64 [rows]."""
    kept = rows.lengths if most is None else np.minimum(rows.lengths, most)
    lost = rows.lengths - kept
    if most is None or not lost.any():
        return rows, lost
    starts = np.cumsum(rows.lengths) - rows.lengths
    places = np.arange(len(rows.values)) - np.repeat(starts, rows.lengths)
    return Encoded(rows.values[places < most], kept), lost


def select(rows: Encoded, kept: NDArray[np.bool_]) -> Encoded:
    """The rows that are kept."""
    if kept.all():
        return rows
    return Encoded(rows.values[np.repeat(kept, rows.lengths)], rows.lengths[kept])
