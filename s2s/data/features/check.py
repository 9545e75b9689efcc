"""Whether features fit the examples that name them: what is missing, unused, or not a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from s2s.data.features.ids import SHOWN, named
from s2s.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from s2s.data.features.store import FeatureStore, Gathered

BLOCK_BYTES = 8 * 2**20
"""Features that are looked through at a time."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class FeatureReport:
    """What `FeatureCheck` found. Of ids that make trouble, the first few are named."""

    name: str
    """The feature file."""
    entries: int
    """Ids in the file."""
    width: int
    regions: tuple[int, int]
    """Least and most regions of the features in use; both 1 for vectors."""
    wanted: int
    """Examples that have asked for features."""
    missing: int
    """Those among them whose id is not in the file."""
    missing_ids: tuple[str, ...]
    unused: int
    """Ids in the file that no example has asked for."""
    unused_ids: tuple[str, ...]
    not_finite: int
    """Ids in use whose features hold NaN or infinity."""
    not_finite_ids: tuple[str, ...]

    def refuse(self, most_missing: float = 0.0) -> None:
        """Raises DataError where more than this share of examples (0 to 1) has no features, or any
        of the features in use is NaN or infinite."""
        if self.missing > most_missing * self.wanted:
            allowed = f"at most {most_missing:.1%}" if most_missing else "features for all"
            raise DataError(
                f"{self.name}: {self.missing:,} of {self.wanted:,} examples have no features, "
                f"expected {allowed}: {named(self.missing_ids, self.missing)}"
            )
        if self.not_finite:
            raise DataError(_not_finite(self.name, self.not_finite_ids, self.not_finite))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know where nothing was refused, one line each."""
        found = []
        if self.missing:
            found.append(
                f"{self.name}: {self.missing:,} of {self.wanted:,} examples have no features: "
                f"{named(self.missing_ids, self.missing)}"
            )
        if self.unused:
            found.append(
                f"{self.name}: {self.unused:,} of {self.entries:,} ids are of no example: "
                f"{named(self.unused_ids, self.unused)}"
            )
        return tuple(found)


@dataclass
class FeatureCheck:
    """Looks ids up and remembers which: a byte for each id of the file."""

    store: FeatureStore
    num_wanted: int = 0
    num_missing: int = 0
    missing_ids: list[str] = field(default_factory=list)
    is_used: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.is_used = np.zeros(len(self.store), np.bool_)

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, int64 [ids], -1 where it has no features."""
        rows = self.store.ids.find(ids)
        self.is_used[rows[rows >= 0]] = True
        missing = np.flatnonzero(rows < 0)
        self.num_wanted += len(ids)
        self.num_missing += len(missing)
        room = SHOWN - len(self.missing_ids)
        self.missing_ids += [ids[place] for place in missing[:room].tolist()]
        return rows

    def report(self, progress: Progress = lambda stage, done, total: None) -> FeatureReport:
        """All that has been found; reads the features in use once, block by block."""
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
            bad += block[_is_bad(gathered)].tolist()
            done += len(block)
            progress("checking features", done, len(rows))
        return bad


def check_finite(store: FeatureStore, rows: NDArray[np.int64], gathered: Gathered) -> None:
    """Raises DataError, naming the ids, where features just gathered hold NaN or infinity."""
    bad = np.flatnonzero(_is_bad(gathered))
    if len(bad):
        ids = tuple(store.ids[int(rows[place])] for place in bad[:SHOWN])
        raise DataError(_not_finite(store.name, ids, len(bad)))


def check_width(store: FeatureStore, width: int) -> None:
    """Raises DataError unless features are as wide as those that a model was trained with."""
    if store.width != width:
        raise DataError(
            f"{store.name}: features of width {store.width}, the model expects {width}; they have "
            "to come from the network that those of its training came from"
        )


def _is_bad(gathered: Gathered) -> NDArray[np.bool_]:
    """bool [rows]: whether there is anything but a number."""
    return np.asarray(~np.isfinite(gathered.values_BRD).all(axis=(1, 2)))


def _not_finite(name: str, ids: Sequence[str], count: int) -> str:
    return (
        f"{name}: expected finite numbers, found NaN or infinity in the features of "
        f"{named(ids, count)}"
    )
