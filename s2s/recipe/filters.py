"""Recipe sections that select, truncate and normalize training pairs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.section import Count, Fraction, PositiveInt, Section


@dataclass(frozen=True, kw_only=True)
class HoldOut(Section):
    """Validation and test pairs from the training split, for data without such splits.

    A hash of seed and source text decides for each pair, so pairs of one source stay together. With
    data.image_features it is a hash of the ids, so all pairs of an image stay together.
    """

    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Approximate share of the training split's sources for validation; 0 for data that have a
    validation split."""
    test: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Approximate share of the sources for test; 0 for none."""
    seed: Count = 1
    """Seed of the hash. The recipe's own seed has no effect here, so runs stay comparable."""

    def __post_init__(self) -> None:
        if self.share == self.test == 0.0:
            raise ValueError("share: 0 beside test 0 holds nothing out; remove the section")
        if self.share + self.test >= 1.0:
            raise ValueError(
                f"share and test leave nothing to train on ({self.share + self.test:g})"
            )


Compared = Literal["pairs", "sources"]
"""Unit in which training is compared with validation and test."""


@dataclass(frozen=True, kw_only=True)
class Filters(Section):
    """Filters of the training split. `unseen` also filters validation; nothing filters test."""

    max_length: PositiveInt = 200
    """Longest source and longest target that are kept, in tokens."""
    max_ratio: Annotated[float, Field(ge=1.0)] = 9.0
    """Largest ratio of the two lengths in tokens (for pairs with more than 10 on a side)."""
    duplicates: bool = False
    """Drop exact duplicates of a pair; the first stays."""
    unseen: Literal[False, "pairs", "sources"] = False
    """Drop training pairs that occur in validation or test, and validation pairs that occur in
    test: equal `pairs`, or all pairs with equal `sources`. The comparison ignores case, white space
    and punctuation."""
    max_dropped: Fraction = 0.5
    """Fail if a larger share of a split's pairs is dropped, which points to an error."""


@dataclass(frozen=True, kw_only=True)
class Truncate(Section):
    """Limits to which long texts are cut: in training, validation, test and `s2s translate`."""

    source: PositiveInt | None = None
    """Number of first tokens of a source that stay; such a source passes `filters.max_length`."""
    target: PositiveInt | None = None
    """Number of first tokens of a target that stay; scores use the whole target."""


@dataclass(frozen=True, kw_only=True)
class TargetText(Section):
    """Normalization of every target and reference in all splits, before all other steps. The model
    learns the normalized text, and scores compare with it."""

    lowercase: bool = False
    """Fold case."""
    punctuation: bool = True
    """Whether punctuation stays. If not, words of punctuation alone are removed, and so is
    punctuation before and after a word, except apostrophes."""


Tag = Annotated[str, Field(pattern=r"^<[^\s<>▁]+>$")]
TagOrNone = Annotated[str, Field(pattern=r"^(?:<[^\s<>▁]+>|none)$")]
