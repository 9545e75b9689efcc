"""Coverage of feature files: pairs that lack features, and features that no pair has."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from s2s.data.features.check import FeatureCheck, Progress
from s2s.data.features.lookup import MISSING, FeatureLines, Named
from s2s.data.preparation.report import FeatureReport
from s2s.errors import DataError
from s2s.recipe.image_features import ImageFeatureFile

LACKING = "no features"
"""The reason for which these pairs are dropped."""


@dataclass
class PairsWithoutFeatures:
    """The pairs of a split that lack features."""

    num_pairs: int = 0
    """The number of pairs."""
    by_file: dict[int, int] = field(default_factory=dict)
    """The number of pairs for which each file, by its number, has no features."""
    first: dict[int, str] = field(default_factory=dict)
    """The first line of these for each file."""

    def add(self, lines: Sequence[str], named: Named) -> None:
        """Count the lines of a chunk."""
        is_missing_NF = named.rows_NF == MISSING
        self.num_pairs += int(is_missing_NF.any(axis=1).sum())
        for number, count in enumerate(is_missing_NF.sum(axis=0).tolist()):
            if count:
                self.by_file[number] = self.by_file.get(number, 0) + count
                self.first.setdefault(number, lines[int(is_missing_NF[:, number].argmax())])

    def check(self, place: str, num_read: int, features: "FeatureFiles") -> None:
        """Raises DataError if more pairs lack features than the recipe allows, or all do."""
        for number, count in self.by_file.items():
            allowed = features.recipe[number].max_missing
            if count > allowed * num_read or self.num_pairs == num_read:
                raise DataError(
                    f"{place}: {features.lines.fault(self.first[number])}; {count:,} of "
                    f"{num_read:,} pairs have none, more than "
                    f"data.image_features[{number}].max_missing "
                    f"{allowed:g} allows"
                )


class FeatureFiles:
    """The feature files of a preparation, and the rows of them that pairs use."""

    def __init__(self, lines: FeatureLines, recipe: Sequence[ImageFeatureFile]) -> None:
        self.lines = lines
        self.recipe = recipe
        self._checks = [FeatureCheck(store) for store in lines.stores]

    def use(self, rows_NF: NDArray[np.int64]) -> None:
        """Mark the rows of some pairs as used."""
        for number, check in enumerate(self._checks):
            check.is_used[rows_NF[:, number]] = True

    def report(self, progress: Progress) -> tuple[FeatureReport, ...]:
        """The report of every file; reads the features of all pairs.

        Raises DataError for features that are not finite, or if more of them have no pair than the
        recipe allows.
        """
        found = []
        for one, check in zip(self.recipe, self._checks, strict=True):
            report = check.report(progress)
            report.refuse()
            if report.unused > one.max_unused * report.entries:
                raise DataError(
                    f"{report.name}: {report.unused:,} of {report.entries:,} ids are in no split, "
                    f"such as '{report.unused_ids[0]}', more than max_unused {one.max_unused:g} "
                    "allows"
                )
            found.append(
                FeatureReport(
                    path=report.name,
                    width=report.width,
                    regions=report.regions,
                    rows=report.entries,
                    unused=report.unused,
                )
            )
        return tuple(found)
