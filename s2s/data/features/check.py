"""Checks features against the examples that name them: missing, unused and non-finite ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from s2s.data.features.ids import SHOWN, list_ids
from s2s.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from s2s.data.features.store import FeatureStore, Gathered

BLOCK_BYTES = 8 * 2**20
"""Bytes of features that are checked at a time."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class FeatureReport:
    """The result of `FeatureCheck`, with the first few ids of each kind."""

    name: str
    """The feature file."""
    entries: int
    """Ids in the file."""
    width: int
    regions: tuple[int, int]
    """The smallest and largest number of regions of the features in use; 1 for vectors."""
    wanted: int
    """Examples that name features."""
    missing: int
    """Examples whose id is not in the file."""
    missing_ids: tuple[str, ...]
    unused: int
    """Ids in the file that no example names."""
    unused_ids: tuple[str, ...]
    not_finite: int
    """Ids in use whose features have NaN or infinity."""
    not_finite_ids: tuple[str, ...]

    def refuse(self, most_missing: float = 0.0) -> None:
        """Raises DataError if more than this share of examples (0 to 1) has no features, or if any
        feature in use is NaN or infinite."""
        if self.missing > most_missing * self.wanted:
            allowed = f"at most {most_missing:.1%}" if most_missing else "features for all"
            raise DataError(
                f"{self.name}: {self.missing:,} of {self.wanted:,} examples have no features, "
                f"expected {allowed}: {list_ids(self.missing_ids, self.missing)}"
            )
        if self.not_finite:
            raise DataError(_not_finite(self.name, self.not_finite_ids, self.not_finite))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the features, one line each."""
        found = []
        if self.missing:
            found.append(
                f"{self.name}: {self.missing:,} of {self.wanted:,} examples have no features: "
                f"{list_ids(self.missing_ids, self.missing)}"
            )
        if self.unused:
            found.append(
                f"{self.name}: {self.unused:,} of {self.entries:,} ids belong to no example: "
                f"{list_ids(self.unused_ids, self.unused)}"
            )
        return tuple(found)


@dataclass
class FeatureCheck:
    """Looks up ids and records which are used, in a byte for each id of the file."""

    store: FeatureStore
    num_wanted: int = 0
    num_missing: int = 0
    missing_ids: list[str] = field(default_factory=list)
    is_used: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.is_used = np.zeros(len(self.store), np.bool_)

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, int64 [ids]; -1 for an id without features."""
        rows = self.store.ids.find(ids)
        self.is_used[rows[rows >= 0]] = True
        missing = np.flatnonzero(rows < 0)
        self.num_wanted += len(ids)
        self.num_missing += len(missing)
        room = SHOWN - len(self.missing_ids)
        self.missing_ids += [ids[place] for place in missing[:room].tolist()]
        return rows

    def report(self, progress: Progress = lambda stage, done, total: None) -> FeatureReport:
        """The result so far; reads the features in use once, block by block."""
        used = np.flatnonzero(self.is_used)
        unused = np.flatnonzero(~self.is_used)
        bad = self._not_finite(used, progress)
        lengths = self.store.regions(used)
        ids = self.store.ids
        return FeatureReport(
            name=self.store.name,
            entries=len(self.store),
            width=self.store.width,
            regions=(int(lengths.min()), int(lengths.max())) if len(used) else (0, 0),
            wanted=self.num_wanted,
            missing=self.num_missing,
            missing_ids=tuple(self.missing_ids),
            unused=len(unused),
            unused_ids=tuple(ids[row] for row in unused[:SHOWN].tolist()),
            not_finite=len(bad),
            not_finite_ids=tuple(ids[row] for row in bad[:SHOWN]),
        )

    def _not_finite(self, rows: NDArray[np.int64], progress: Progress) -> list[int]:
        bad: list[int] = []
        done = 0
        for block, gathered in self.store.blocks(rows, BLOCK_BYTES):
            bad += block[_is_not_finite(gathered)].tolist()
            done += len(block)
            progress("checking features", done, len(rows))
        return bad


def check_finite(store: FeatureStore, rows: NDArray[np.int64], gathered: Gathered) -> None:
    """Raises DataError, with the ids, if gathered features have NaN or infinity."""
    bad = np.flatnonzero(_is_not_finite(gathered))
    if len(bad):
        ids = tuple(store.ids[int(rows[place])] for place in bad[:SHOWN])
        raise DataError(_not_finite(store.name, ids, len(bad)))


def check_width(store: FeatureStore, width: int) -> None:
    """Raises DataError unless features have the width that a model was trained with."""
    if store.width != width:
        raise DataError(
            f"{store.name}: features of width {store.width}, the model expects {width}; they must "
            "come from the network that made those of training"
        )


def _is_not_finite(gathered: Gathered) -> NDArray[np.bool_]:
    """bool [rows]: whether a row has NaN or infinity."""
    return np.asarray(~np.isfinite(gathered.values_BRD).all(axis=(1, 2)))


def _not_finite(name: str, ids: Sequence[str], count: int) -> str:
    return (
        f"{name}: expected finite numbers, found NaN or infinity in the features of "
        f"{list_ids(ids, count)}"
    )
