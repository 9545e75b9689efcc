"""Looks up the features that lines name: ids to rows of the feature files, rows to batches.

Dimension letters: N lines, F feature files, B samples, R regions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from s2s.data.features.check import check_finite, check_width
from s2s.data.features.open import open_store
from s2s.data.sources.columns import id_columns
from s2s.errors import DataError, UsageError
from s2s.recipe.data import Data, has_source_text, image_features_of
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.model import Model
from s2s.text.source_features import SEPARATOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from s2s.data.features.store import FeatureStore
    from s2s.nn.batch import Regions


FEATURES_FOLDER = "features"
"""The folder of a run for copies of feature files that cannot be mapped."""


MISSING = -1
"""The row of an id that is missing."""


class Named(NamedTuple):
    """Lines, split into text and the features that they name."""

    texts: list[str]
    """The lines without ids; empty if sources have no text."""
    rows_NF: NDArray[np.int64]
    """Rows of the files; MISSING for an id that a file lacks."""
    ids: list[tuple[str, ...]]
    """The ids of each line; empty for a line with too few."""


@dataclass(frozen=True, eq=False)
class FeatureLines:
    """The open feature files of a recipe, and the columns of a line that name their rows."""

    stores: tuple[FeatureStore, ...]
    columns: tuple[int, ...]
    """For each file, the number of its id in a line."""
    has_text: bool
    """Whether lines have text before the ids."""

    @property
    def num_ids(self) -> int:
        """The number of ids in a line."""
        return max(self.columns) + 1

    def read(self, lines: Sequence[str]) -> Named:
        """Lines, split; the text is before the last `num_ids` tabs."""
        split = [line.rsplit(SEPARATOR, self.num_ids - (not self.has_text)) for line in lines]
        wanted = self.num_ids + self.has_text
        texts = [parts[0] if self.has_text else "" for parts in split]
        ids = [tuple(parts[-self.num_ids :]) if len(parts) == wanted else () for parts in split]
        rows_NF = np.full((len(lines), len(self.stores)), MISSING, dtype=np.int64)
        known = [place for place, found in enumerate(ids) if found]
        for number, (store, column) in enumerate(zip(self.stores, self.columns, strict=True)):
            rows_NF[known, number] = store.ids.find([ids[place][column] for place in known])
        return Named(texts, rows_NF, ids)

    def fault(self, line: str) -> str:
        """The message about a line that names missing features."""
        named = self.read([line])
        if not named.ids[0]:
            wanted = ["text"] * self.has_text + ["id"] * self.num_ids
            return f"expected {', tab, '.join(wanted)}, found {line[:40]!r}"
        missing = int(np.flatnonzero(named.rows_NF[0] == MISSING)[0])
        id_ = named.ids[0][self.columns[missing]]
        return self.stores[missing].missing_message(id_, 1, 1)

    def regions(self, rows_NF: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [N, F]: the number of regions of each sample in each file."""
        counts = [store.regions(rows_NF[:, f]) for f, store in enumerate(self.stores)]
        return np.stack(counts, axis=1)

    def gather(
        self, rows_BF: NDArray[np.int64], times: Sequence[int] | None = None
    ) -> tuple[Regions, ...]:
        """The features of B samples, padded to `times` regions; to the largest if None.

        With `times`, features may differ from those that preparation has checked: raises DataError
        if they are not finite.
        """
        import torch  # not needed by prep

        from s2s.nn.batch import Regions

        found = []
        for number, store in enumerate(self.stores):
            gathered = store.gather(rows_BF[:, number])
            values_BRD = torch.from_numpy(gathered.values_BRD).float()
            if times is not None:
                check_finite(store, rows_BF[:, number], gathered)
            if times is not None and times[number] > values_BRD.shape[1]:
                more = times[number] - values_BRD.shape[1]
                values_BRD = torch.nn.functional.pad(values_BRD, (0, 0, 0, more))
            found.append(Regions(values_BRD, torch.from_numpy(gathered.lengths_B)))
        return tuple(found)

    @cached_property
    def uniform(self) -> tuple[int | None, ...]:
        """For each file the number of regions of a row; None if rows differ."""
        every = (store.regions(np.arange(len(store))) for store in self.stores)
        return tuple(int(r[0]) if r.min() == r.max() else None for r in every)


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """The features of some sources."""

    lines: FeatureLines
    rows_NF: NDArray[np.int64]
    """int64 [sources, files]; MISSING where a source has none in a file."""

    def is_missing(self, key: int) -> bool:
        """Whether source `key` lacks the features of a file."""
        return bool((self.rows_NF[key] == MISSING).any())

    def regions(self, key: int) -> tuple[int, ...]:
        """The number of regions of source `key` in each file."""
        return tuple(self.lines.regions(self.rows_NF[key : key + 1])[0].tolist())

    def gather(self, keys: Sequence[int], times: Sequence[int]) -> tuple[Regions, ...]:
        """The features of some sources, padded to `times` regions."""
        return self.lines.gather(self.rows_NF[list(keys)], times)

    def part(self, start: int, end: int) -> FeatureRows:
        """The features of the sources from `start` to `end`."""
        return FeatureRows(self.lines, self.rows_NF[start:end])

    def repeated(self, counts: Sequence[int]) -> FeatureRows:
        """The features of each source, repeated `counts` times."""
        return FeatureRows(self.lines, np.repeat(self.rows_NF, counts, axis=0))


def open_features(
    data: Data,
    files: Sequence[tuple[Path, Path | None]] | None = None,
    cache: Path | None = None,
) -> FeatureLines | None:
    """The feature files of a recipe's data, if it has any; `files` (and ids) replace them.

    Files that cannot be mapped are copied into the folder `cache`; see `open_store`.

    Raises DataError for an invalid file, UsageError for another number of files.
    """
    wanted = image_features_of(data)
    if files is not None and len(files) != len(wanted):
        expected = f"{len(wanted)} files of features" if wanted else "no features"
        raise UsageError(
            f"--features: expected {expected}, as in the run's recipe, found {len(files)}"
        )
    if not wanted:
        return None
    chosen = files or [
        (Path(one.path), None if one.ids is None else Path(one.ids)) for one in wanted
    ]
    folder = cache if files is None else None
    stores = tuple(open_store(path, ids, cache=folder) for path, ids in chosen)
    return FeatureLines(stores, columns_of(wanted), has_source_text(data))


def columns_of(files: Sequence[ImageFeatureFile]) -> tuple[int, ...]:
    """For each file, the number of its id in a line."""
    names = id_columns(files)
    return tuple(names.index(file.column) for file in files)


def check_grids(lines: FeatureLines, model: Model) -> None:
    """Raises DataError for a file whose grids do not have the rows of the recipe."""
    for place, (store, regions) in enumerate(zip(lines.stores, lines.uniform, strict=True)):
        rows = model.image_feature_encoder(place).rows
        if rows and (regions is None or regions % rows):
            found = f"{store.max_regions} at most" if regions is None else f"{regions}"
            raise DataError(
                f"{store.name}: expected grids of {rows} rows (model.image_features), all of as "
                "many "
                f"regions, found {found}"
            )


def check_shapes(lines: FeatureLines, shapes: Sequence[tuple[int, int]], model: Model) -> None:
    """Raises DataError for a file whose width or grids a model cannot read.

    `shapes` has a width and the number of regions with learned positions, 0 for any number.
    """
    check_grids(lines, model)
    for store, (width, regions) in zip(lines.stores, shapes, strict=True):
        check_width(store, width)
        if regions and store.max_regions > regions:
            raise DataError(
                f"{store.name}: expected at most {regions} regions, which the model has learned "
                f"positions for, found {store.max_regions}"
            )
