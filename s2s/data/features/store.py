"""The feature store: ids to rows, rows to a padded batch of grids.

B: rows of a batch, R: regions of the longest grid among them, D: width.

All formats come down to one picture: arrays of [regions, width] mapped from the disk, one below the
other, and for every row where its regions begin and how many they are. A vector is a grid of one
region. Only the regions that are asked for are read, and the operating system may drop them again.
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
    """float16 or float32 [rows, regions, width]; zero behind the last region of a row."""
    lengths_B: NDArray[np.int64]
    """int64 [rows]: regions of each, at least one."""


@dataclass(frozen=True)
class Layout:
    """Where the regions of every row lie."""

    pieces: tuple[NDArray[Any], ...]
    """Arrays [regions of many rows, width], all of one type; bfloat16 as its bits, uint16."""
    piece_rows: NDArray[np.int64]
    """int64 [pieces + 1]: piece p holds the rows from `piece_rows[p]` to `piece_rows[p + 1]`."""
    starts: NDArray[np.int64]
    """int64 [rows]: the first region of a row, counted in its piece."""
    lengths: NDArray[np.int64]
    """int64 [rows]: regions of a row."""


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
    """A feature file, open. `open_store` makes it.

    Not for sending to another process: there, open the file again.
    """

    def __init__(self, name: str, ids: IdIndex, layout: Layout) -> None:
        assert len(ids) == len(layout.starts) == layout.piece_rows[-1]
        self.name = name
        """The file, as messages name it."""
        self.ids = ids
        self._layout = layout
        self.width: int = layout.pieces[0].shape[1]
        """Length of a region's vector."""
        stored = layout.pieces[0].dtype
        self.is_bfloat16 = stored.kind == "u"
        half = stored.newbyteorder("=") == np.float16
        self.dtype = np.dtype(np.float16 if half else np.float32)
        """Of what `gather` gives: float16 as it is stored, anything else as float32."""
        self.max_regions = int(layout.lengths.max())
        """Regions of the largest grid; 1 where all features are vectors."""

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, id_: str) -> bool:
        """Whether there are features for this id."""
        return bool(self.ids.find([id_])[0] >= 0)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, int64 [ids]. Raises DataError where one has no features."""
        rows = self.ids.find(ids)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise DataError(self.lacking(ids[missing[0]], len(missing), len(ids)))
        return rows

    def lacking(self, id_: str, count: int, total: int) -> str:
        """The line that says that `count` of `total` ids are not there, `id_` being the first."""
        near = self.ids.nearest(id_)
        advice = f" (did you mean '{near}'?)" if near else ""
        others = f"; {count:,} of {total:,} ids have none" if total > 1 else ""
        return f"{self.name}: no features for '{id_}'{advice}{others}"

    def regions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many regions each row has, int64 [rows]."""
        return self._layout.lengths[rows]

    def gather(self, rows: NDArray[np.int64]) -> Gathered:
        """The features of some rows, in their order, read from the disk now."""
        assert len(rows) == 0 or rows.min() >= 0, "a row that is not there"
        lengths_B = self._layout.lengths[rows]
        shape = (len(rows), int(lengths_B.max(initial=0)), self.width)
        values_BRD = np.zeros(shape, self.dtype)
        pieces_B = np.searchsorted(self._layout.piece_rows, rows, side="right") - 1
        places = zip(
            pieces_B.tolist(), self._layout.starts[rows].tolist(), lengths_B.tolist(), strict=True
        )
        # A copy for each row beats indices of all regions (measured: ten times faster).
        with np.errstate(over="ignore"):  # what is too large for float32 is an infinity
            for row, (piece, start, length) in enumerate(places):
                stored = self._layout.pieces[piece][start : start + length]
                values_BRD[row, :length] = _widened(stored) if self.is_bfloat16 else stored
        return Gathered(values_BRD, lengths_B)

    def blocks(
        self, rows: NDArray[np.int64], num_bytes: int
    ) -> Iterator[tuple[NDArray[np.int64], Gathered]]:
        """These rows in their order and what they hold, about `num_bytes` at a time."""
        region_bytes = self.width * self.dtype.itemsize
        per_block = max(1, num_bytes // (self.max_regions * region_bytes))
        for first in range(0, len(rows), per_block):
            block = rows[first : first + per_block]
            yield block, self.gather(block)


def _widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as float32, of which it is the upper half."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
