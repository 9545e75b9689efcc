"""A table from 64-bit hashes to numbers, looked up for whole arrays at a time."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

UNKNOWN = -1
"""The number of a hash that is not in the table."""

_LEAST_BITS = 10


class HashTable:
    """Numbers 0, 1, 2, ... for hashes in the order in which they are added.

    Open addressing with linear probing; at most half of the slots are in use. The upper bits of a
    hash say where to look for it first.
    """

    def __init__(self) -> None:
        self._size = 0
        self._allocate(_LEAST_BITS)

    def __len__(self) -> int:
        return self._size

    def _allocate(self, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._hashes = np.zeros(1 << bits, dtype=np.uint64)
        self._numbers = np.full(1 << bits, UNKNOWN, dtype=np.int32)

    def find(self, hashes: Hashes) -> Numbers:
        """int64 [hashes]: their numbers, `UNKNOWN` where there is none."""
        slots = (hashes >> self._shift).astype(np.int64)
        found = self._numbers.take(slots).astype(np.int64)
        others = np.flatnonzero((found != UNKNOWN) & (self._hashes.take(slots) != hashes))
        while len(others):
            slots[others] = (slots[others] + 1) & self._mask
            here = slots[others]
            found[others] = self._numbers[here]
            is_other = (found[others] != UNKNOWN) & (self._hashes[here] != hashes[others])
            others = others[is_other]
        return found

    def add(self, hashes: Hashes) -> None:
        """Add different hashes, which are not in the table."""
        numbers = np.arange(self._size, self._size + len(hashes))
        self._size += len(hashes)
        if 2 * self._size > self._mask + 1:
            is_used = self._numbers != UNKNOWN
            before = self._hashes[is_used], self._numbers[is_used].astype(np.int64)
            self._allocate((2 * self._size).bit_length() + 1)
            self._insert(*before)
        self._insert(hashes, numbers)

    def _insert(self, hashes: Hashes, numbers: Numbers) -> None:
        slots = (hashes >> self._shift).astype(np.int64)
        while len(slots):
            # Of several for one free slot the last one is written, and found there.
            is_free = self._numbers[slots] == UNKNOWN
            self._numbers[slots[is_free]] = numbers[is_free]
            is_there = self._numbers[slots] == numbers
            self._hashes[slots[is_there]] = hashes[is_there]
            slots, hashes, numbers = slots[~is_there], hashes[~is_there], numbers[~is_there]
            slots = (slots + 1) & self._mask
