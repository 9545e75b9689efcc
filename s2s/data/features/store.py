"""The feature store: ids to rows, rows to a padded batch of grids.

B: rows of a batch, R: regions of the longest grid among them, D: width.

All formats have one layout: arrays of [regions, width] mapped from the disk, and for every row the
start and the number of its regions. A vector is a grid of one region. Only the requested regions
are read, and the operating system may evict them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.data.features.ids import IdIndex
from s2s.errors import DataError

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Gathered:
    """The features of some rows."""

    values_BRD: Values
    """float16 or float32 [rows, regions, width]; zero after the last region of a row."""
    lengths_B: NDArray[np.int64]
    """int64 [rows]: the number of regions of each, at least one."""


@dataclass(frozen=True)
class Layout:
    """The positions of the regions of every row."""

    pieces: tuple[NDArray[Any], ...]
    """Arrays [regions of many rows, width], all of one type; bfloat16 as its bits, uint16."""
    piece_rows: NDArray[np.int64]
    """int64 [pieces + 1]: piece p has the rows from `piece_rows[p]` to `piece_rows[p + 1]`."""
    starts: NDArray[np.int64]
    """int64 [rows]: the first region of a row within its piece."""
    lengths: NDArray[np.int64]
    """int64 [rows]: the number of regions of a row."""


def one_piece(array: NDArray[Any]) -> Layout:
    """The layout of an array [rows, width] or [rows, regions, width]."""
    num_rows, width = array.shape[0], array.shape[-1]
    regions = array.shape[1] if array.ndim == 3 else 1
    return Layout(
        pieces=(array.reshape(num_rows * regions, width),),
        piece_rows=np.array([0, num_rows]),
        starts=np.arange(num_rows) * regions,
        lengths=np.full(num_rows, regions),
    )


class FeatureStore:
    """An open feature file; `open_store` makes it.

    It cannot be sent to another process, which has to open the file again.
    """

    def __init__(self, name: str, ids: IdIndex, layout: Layout) -> None:
        assert len(ids) == len(layout.starts) == layout.piece_rows[-1]
        self.name = name
        """The name of the file in messages."""
        self.ids = ids
        self._layout = layout
        self.width: int = layout.pieces[0].shape[1]
        """The length of a region's vector."""
        stored = layout.pieces[0].dtype
        self.is_bfloat16 = stored.kind == "u"
        half = stored.newbyteorder("=") == np.float16
        self.dtype = np.dtype(np.float16 if half else np.float32)
        """The type of `gather`'s values: float16 as stored, anything else as float32."""
        self.max_regions = int(layout.lengths.max())
        """The number of regions of the largest grid; 1 if all features are vectors."""

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, id_: str) -> bool:
        """Whether there are features for this id."""
        return bool(self.ids.find([id_])[0] >= 0)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, int64 [ids]. Raises DataError if one has no features."""
        rows = self.ids.find(ids)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise DataError(self.missing_message(ids[missing[0]], len(missing), len(ids)))
        return rows

    def missing_message(self, id_: str, count: int, total: int) -> str:
        """A message that `count` of `total` ids are missing, with the first, `id_`."""
        near = self.ids.nearest(id_)
        advice = f" (did you mean '{near}'?)" if near else ""
        others = f"; {count:,} of {total:,} ids have none" if total > 1 else ""
        return f"{self.name}: no features for '{id_}'{advice}{others}"

    def regions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of regions of each row, int64 [rows]."""
        return self._layout.lengths[rows]

    def gather(self, rows: NDArray[np.int64]) -> Gathered:
        """The features of some rows, in their order, read from the disk."""
        assert len(rows) == 0 or rows.min() >= 0, "a missing row"
        lengths_B = self._layout.lengths[rows]
        shape = (len(rows), int(lengths_B.max(initial=0)), self.width)
        values_BRD = np.zeros(shape, self.dtype)
        pieces_B = np.searchsorted(self._layout.piece_rows, rows, side="right") - 1
        places = zip(
            pieces_B.tolist(), self._layout.starts[rows].tolist(), lengths_B.tolist(), strict=True
        )
        # A copy for each row beats indices of all regions (measured: ten times faster).
        with np.errstate(over="ignore"):  # numbers too large for float32 become infinities
            for row, (piece, start, length) in enumerate(places):
                stored = self._layout.pieces[piece][start : start + length]
                values_BRD[row, :length] = _widened(stored) if self.is_bfloat16 else stored
        return Gathered(values_BRD, lengths_B)

    def blocks(
        self, rows: NDArray[np.int64], num_bytes: int
    ) -> Iterator[tuple[NDArray[np.int64], Gathered]]:
        """Rows in their order with their features, about `num_bytes` at a time."""
        region_bytes = self.width * self.dtype.itemsize
        per_block = max(1, num_bytes // (self.max_regions * region_bytes))
        for first in range(0, len(rows), per_block):
            block = rows[first : first + per_block]
            yield block, self.gather(block)


def _widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16, the upper half of a float32, as float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
