"""Finds the lines of validation and test in text that is to be translated for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2s.data.preparation.overlap import compared
from s2s.data.sources.open import open_split
from s2s.data.sources.split import SplitName
from s2s.errors import DataError
from s2s.spaces import is_blank

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe

HELD_OUT: tuple[SplitName, ...] = ("validation", "test")

MOST = 0.5
"""Share of a split's lines in the text above which the text is refused. Short sentences, such as
greetings, are in any text; half of a test set is not by chance."""


class HeldOutLines:
    """The different lines of one side of validation and test, compared as `filters.unseen` does."""

    def __init__(self, recipe: Recipe, *, is_target: bool) -> None:
        """Reads both splits, references included; raises DataError where they cannot be read."""
        self._splits: dict[str, set[str]] = {}
        self._seen: dict[str, set[str]] = {}
        self.num_found = 0
        """Lines of the text that validation or test has."""
        for name in HELD_OUT:
            split = open_split(recipe.data, name)
            if split is None:
                continue
            lines = self._splits[name] = set[str]()
            self._seen[name] = set()
            for chunk in split.chunks():
                texts = list(chunk.target if is_target else chunk.source)
                if is_target:
                    texts += [text for options in chunk.references or () for text in options]
                lines.update(compared(text) for text in texts if not is_blank(text))

    def see(self, line: str) -> None:
        """Compare a line of the text."""
        key = compared(line)
        found = [name for name, lines in self._splits.items() if key in lines]
        for name in found:
            self._seen[name].add(key)
        self.num_found += bool(found)

    def check(self, place: str) -> None:
        """Raise DataError, beginning with `place`, for text that has most of a split."""
        for name, lines in self._splits.items():
            found = len(self._seen[name])
            if found > MOST * len(lines):
                raise DataError(
                    f"{place}: the text has {found:,} of the {len(lines):,} different lines of "
                    f"{name}, on which a score would say nothing; remove them from the text"
                )
