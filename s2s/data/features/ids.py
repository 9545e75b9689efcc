"""An index from the ids of a feature file to its rows, in little memory.

A Python dict of a million file names takes about 150 MB. Here an id takes its own bytes and 20 more
(offset, hash, row), so ten million names of 25 letters take 450 MB.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.errors import DataError
from s2s.spaces import is_blank
from s2s.text.lines import read_lines

BLOCK = 65_536
"""Ids that exist as Python strings at a time."""

LEAST_SIMILARITY = 60
"""The least similarity, of 100, of an id that is proposed for a missing one. That of `123.jpg` and
`images/123.jpg` is 67."""

SHOWN = 3
"""The most ids that a message names."""


class IdIndex:
    """Unique ids in the order of their rows."""

    def __init__(
        self,
        ids: Iterable[str],
        place: Callable[[int], str],
        *,
        hash_of: Callable[[str], int] = hash,
    ) -> None:
        """Raises DataError, with `place(row)`, for an empty or repeated id."""
        self._hash_of = hash_of
        self._text, self._bounds, hashes = _collect(ids, place, hash_of)
        self._order = np.argsort(hashes, kind="stable").astype(_row_type(len(hashes)))
        self._hashes = hashes[self._order]
        self._refuse_duplicates(place)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, row: int) -> str:
        """The id of a row; rows count from 0."""
        return self._text[self._bounds[row] : self._bounds[row + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, int64 [ids]; -1 for a missing one."""
        hashes = np.fromiter(map(self._hash_of, ids), np.int64, len(ids))
        first = np.searchsorted(self._hashes, hashes, side="left").tolist()
        last = np.searchsorted(self._hashes, hashes, side="right").tolist()
        rows = (
            self._row_among(id_, slice(*span)) for id_, *span in zip(ids, first, last, strict=True)
        )
        return np.fromiter(rows, np.int64, len(ids))

    def nearest(self, id_: str) -> str | None:
        """The id most similar to a missing one, if any is similar; reads all ids."""
        from rapidfuzz import process

        best: tuple[float, str] = (LEAST_SIMILARITY, "")
        ids = iter(self)
        while block := list(islice(ids, BLOCK)):
            found = process.extractOne(id_, block, score_cutoff=best[0])
            if found is not None and (found[1] > best[0] or not best[1]):
                best = (found[1], found[0])
        return best[1] or None

    def _row_among(self, id_: str, span: slice) -> int:
        """The row of `id_` among those with its hash, or -1."""
        raw = id_.encode()
        for row in self._order[span].tolist():
            if self._text[self._bounds[row] : self._bounds[row + 1]] == raw:
                return int(row)
        return -1

    def _refuse_duplicates(self, place: Callable[[int], str]) -> None:
        later = np.flatnonzero(self._hashes[1:] == self._hashes[:-1]) + 1
        repeated: list[tuple[int, int]] = []
        for position in later.tolist():
            row = int(self._order[position])
            start = int(np.searchsorted(self._hashes, self._hashes[position]))
            first = self._row_among(self[row], slice(start, position + 1))
            if first != row:
                repeated.append((row, first))
        if repeated:
            row, first = min(repeated)
            raise DataError(
                f"{place(row)}: id '{self[row]}' occurs before, at {place(first)}; expected "
                f"every id once, found {len(repeated):,} that repeat{_s(repeated)} an earlier one"
            )


def read_ids(path: Path) -> IdIndex:
    """The ids of a text file, one a line; line i belongs to row i of the array.

    Blank lines at its end are no ids. Raises DataError for a line that is empty, repeated or not
    UTF-8.
    """
    return IdIndex(_without_blank_end(read_lines(path)), lambda row: f"{path}:{row + 1}")


def _without_blank_end(lines: Iterable[str]) -> Iterator[str]:
    waiting = 0
    for line in lines:
        if is_blank(line):
            waiting += 1
            continue
        yield from [""] * waiting
        waiting = 0
        yield line


def list_ids(ids: Sequence[str], total: int | None = None) -> str:
    """`'a', 'b', 'c' and 7 others`, from the first of `total` ids."""
    count = len(ids) if total is None else total
    shown = ", ".join(f"'{id_}'" for id_ in ids[:SHOWN])
    return f"{shown}{_and_others(count - min(len(ids), SHOWN))}"


def _s(found: Sequence[object]) -> str:
    return "s" if len(found) == 1 else ""


def _and_others(count: int) -> str:
    return f" and {count:,} other{'s' if count > 1 else ''}" if count > 0 else ""


def _row_type(num_rows: int) -> type[np.signedinteger[Any]]:
    return np.int32 if num_rows <= np.iinfo(np.int32).max else np.int64


def _collect(
    ids: Iterable[str], place: Callable[[int], str], hash_of: Callable[[str], int]
) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
    """All ids as concatenated UTF-8, the bounds of each, and their hashes."""
    texts: list[bytes] = []
    lengths: list[NDArray[np.int64]] = []
    hashes: list[NDArray[np.int64]] = []
    rest = iter(ids)
    num_rows = 0
    while block := list(islice(rest, BLOCK)):
        raw = [id_.encode() for id_ in block]
        if not all(raw):
            raise DataError(f"{place(num_rows + raw.index(b''))}: expected an id, found none")
        texts.append(b"".join(raw))
        lengths.append(np.fromiter(map(len, raw), np.int64, len(raw)))
        hashes.append(np.fromiter(map(hash_of, block), np.int64, len(block)))
        num_rows += len(block)
    bounds = np.zeros(num_rows + 1, np.int64)
    if num_rows:
        np.cumsum(np.concatenate(lengths), out=bounds[1:])
    return b"".join(texts), bounds, np.concatenate(hashes) if hashes else np.zeros(0, np.int64)
