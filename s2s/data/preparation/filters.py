"""Filters of sentence pairs, which count what they drop by reason."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from s2s.data.preparation.overlap import REASONS
from s2s.data.sources.split import SplitName
from s2s.data.store import Encoded
from s2s.errors import DataError
from s2s.recipe.filters import Filters, Truncate
from s2s.text.byte_lines import Hashes, LineWords, mix

EMPTY, TOO_LONG, RATIO, DUPLICATE = "empty side", "too long", "length ratio", "duplicate"

SHORT = 10
"""The length ratio does not apply to pairs in which no side is longer than this."""

NO_TRUNCATION = Truncate()


class PairFilter:
    """Decides pair by pair, in order, and counts the pairs it drops by reason."""

    def __init__(
        self, filters: Filters, truncate: Truncate = NO_TRUNCATION, *, split: SplitName = "train"
    ) -> None:
        """On a side that `truncate` cuts, its length replaces `max_length`. Of splits other than
        training, only pairs that `unseen` finds are dropped."""
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
        hashes: Hashes | None,
        held_out: Mapping[str, NDArray[np.bool_]],
    ) -> NDArray[np.bool_]:
        """bool [pairs]: which of the next pairs to keep.

        `held_out` has, by reason, which of them occur in other splits: bool [pairs].
        """
        faults = self._faults_of_length(source, target) if self._is_train else {}
        kept = np.ones(len(source.lengths), dtype=bool)
        for reason, is_fault in {**faults, **held_out}.items():
            self.dropped[reason] += int(np.count_nonzero(kept & is_fault))
            kept &= ~is_fault
        if DUPLICATE in self.dropped:
            assert hashes is not None, "duplicates are found by hashes"
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

    def check(self, place: str, section: str = "data.filters") -> None:
        """Raises DataError, with the counts, if more is dropped than the recipe allows, or all.

        `place` names the pairs in the message, and `section` the filters.
        """
        num_dropped = self.dropped.total()
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.dropped.items() if count)
        if num_dropped == self.num_read:
            raise DataError(f"{place}: none of {self.num_read} pairs is left ({reasons})")
        if num_dropped > self._filters.max_dropped * self.num_read:
            raise DataError(
                f"{place}: {num_dropped} of {self.num_read} pairs are dropped ({reasons}), more "
                f"than {section}.max_dropped {self._filters.max_dropped} allows"
            )


class SeenPairs:
    """A set of hashes in 8 bytes each: sorted runs, of which two of similar size are merged.

    A Python set takes ten times the memory.
    """

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Add hashes; bool [hashes]: which are new, of equal ones only the first."""
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

    def _insert(self, run: Hashes) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


class Overlap:
    """Counts the held-out pairs that occur in training."""

    def __init__(self, hashes: Hashes) -> None:
        """`hashes` are those of the held-out pairs."""
        self._hashes, self._counts = np.unique(hashes, return_counts=True)
        self._is_in_train = np.zeros(len(self._hashes), dtype=bool)

    def update(self, train: Hashes) -> None:
        """Compare with more training pairs."""
        if len(self._hashes):
            places = np.searchsorted(self._hashes, train)
            places[places == len(self._hashes)] = 0
            self._is_in_train[places[self._hashes[places] == train]] = True

    @property
    def count(self) -> int:
        """The number of held-out pairs that training has."""
        return int(self._counts[self._is_in_train].sum())


def pair_hashes(source: LineWords, target: LineWords) -> Hashes:
    """uint64 [pairs]: hashes, which differ between processes and so are never stored."""
    return mix(mix(source.line_hashes()) + target.line_hashes())
