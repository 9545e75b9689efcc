"""Which pairs are left out, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.data.preparation.overlap import REASONS
from s2s.data.sources.split import SplitName
from s2s.data.store import Encoded
from s2s.errors import DataError
from s2s.recipe.filters import Filters, Truncate

EMPTY, TOO_LONG, RATIO, DUPLICATE = "empty side", "too long", "length ratio", "duplicate"

SHORT = 10
"""The ratio says nothing about pairs in which no side is longer than this."""

NOWHERE = Truncate()
"""Nothing is cut."""


class PairFilter:
    """Decides pair by pair, in order, and counts what it has dropped by reason."""

    def __init__(
        self, filters: Filters, truncate: Truncate = NOWHERE, *, split: SplitName = "train"
    ) -> None:
        """A side that `truncate` cuts has no greatest length but that; other splits than training
        lose nothing but what `unseen` finds."""
        self._filters = filters
        self._is_train = split == "train"
        self.unseen = filters.unseen
        self._longest = (
            truncate.source or filters.max_length,
            truncate.target or filters.max_length,
        )
        self._seen = SeenPairs()
        self.num_read = 0
        reasons = (
            *((EMPTY, TOO_LONG, RATIO) if self._is_train else ()),
            *(REASONS[split] if filters.unseen else ()),
            *((DUPLICATE,) if self._is_train and filters.duplicates else ()),
        )
        self.dropped: Counter[str] = Counter(dict.fromkeys(reasons, 0))

    def keep(
        self,
        source: Encoded,
        target: Encoded,
        hashes: NDArray[np.int64],
        held_out: Mapping[str, NDArray[np.bool_]],
    ) -> NDArray[np.bool_]:
        """bool [pairs]: which of the next pairs stay.

        `held_out` says by reason which of them later splits have.
        """
        faults = self._faults_of_length(source, target) if self._is_train else {}
        kept = np.ones(len(source.lengths), dtype=bool)
        for reason, is_fault in {**faults, **held_out}.items():
            self.dropped[reason] += int(np.count_nonzero(kept & is_fault))
            kept &= ~is_fault
        if DUPLICATE in self.dropped:
            candidates = np.flatnonzero(kept)
            repeated = candidates[~self._seen.add(hashes[candidates])]
            self.dropped[DUPLICATE] += len(repeated)
            kept[repeated] = False
        self.num_read += len(kept)
        return kept

    def _faults_of_length(self, source: Encoded, target: Encoded) -> dict[str, NDArray[np.bool_]]:
        longer = np.maximum(source.lengths, target.lengths)
        shorter = np.minimum(source.lengths, target.lengths)
        return {
            EMPTY: shorter == 0,
            TOO_LONG: (source.lengths > self._longest[0]) | (target.lengths > self._longest[1]),
            RATIO: (longer > SHORT) & (longer > self._filters.max_ratio * shorter),
        }

    def check(self, place: str) -> None:
        """Raises DataError, with the counts, if nothing or less than the recipe allows is left.

        `place` says which pairs those are.
        """
        num_dropped = self.dropped.total()
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.dropped.items() if count)
        if num_dropped == self.num_read:
            raise DataError(f"{place}: none of {self.num_read} pairs is left ({reasons})")
        if num_dropped > self._filters.max_dropped * self.num_read:
            raise DataError(
                f"{place}: {num_dropped} of {self.num_read} pairs are dropped ({reasons}), more "
                f"than data.filters.max_dropped {self._filters.max_dropped} allows"
            )


class SeenPairs:
    """A set of hashes in 8 bytes each: sorted runs, two of similar size merged as in a merge sort.

    A Python set takes ten times that.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.int64]] = []

    def add(self, hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [hashes]: which are new, counting only the first of equal ones; all are in then."""
        run, firsts = np.unique(hashes, return_index=True)
        is_new = np.ones(len(run), dtype=bool)
        for seen in self._runs:
            places = np.minimum(np.searchsorted(seen, run), len(seen) - 1)
            is_new &= seen[places] != run
        flags = np.zeros(len(hashes), dtype=bool)
        flags[firsts[is_new]] = True
        if is_new.any():
            self._insert(run[is_new])
        return flags

    def _insert(self, run: NDArray[np.int64]) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


class Overlap:
    """Counts the held-out pairs that occur in training."""

    def __init__(self, hashes: NDArray[np.int64]) -> None:
        """`hashes` are the held-out pairs'."""
        self._hashes = hashes
        self._is_in_train = np.zeros(len(hashes), dtype=bool)

    def see(self, train: NDArray[np.int64]) -> None:
        """Look at more training pairs."""
        self._is_in_train |= np.isin(self._hashes, train)

    @property
    def count(self) -> int:
        """How many held-out pairs have been seen."""
        return int(np.count_nonzero(self._is_in_train))


def pair_hashes(source: Sequence[str], target: Sequence[str]) -> NDArray[np.int64]:
    """int64 [pairs]; they differ from process to process, so they are never stored."""
    pairs: Any = zip(source, target, strict=True)
    return np.fromiter(map(hash, pairs), np.int64, len(source))
