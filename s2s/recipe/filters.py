"""Recipe sections that choose, cut and clean training pairs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.section import Count, Fraction, PositiveInt, Section


@dataclass(frozen=True, kw_only=True)
class HoldOut(Section):
    """Validation pairs taken out of the training split, where the data bring none along.

    A hash of seed and source text decides, pair by pair: pairs of the same source stay together.
    With data.image_features the hash is of their ids: all pairs about an image stay together.
    """

    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """About this share of the training split's sources."""
    seed: Count = 1
    """Another seed takes others; the recipe's own seed has no say, so runs stay comparable."""


Compared = Literal["pairs", "sources"]
"""By what training is compared with validation and test."""


@dataclass(frozen=True, kw_only=True)
class Filters(Section):
    """What is left out of the training split; of validation, only what `unseen` says; of test,
    nothing."""

    max_length: PositiveInt = 200
    """Longest source or target side kept, in tokens."""
    max_ratio: Annotated[float, Field(ge=1.0)] = 9.0
    """Largest ratio between the two lengths in tokens (of pairs longer than 10 on a side)."""
    duplicates: bool = False
    """Drop exact repetitions of a pair, keeping the first."""
    unseen: Literal[False] | Compared = False
    """Drop training pairs that validation or test has too, and validation pairs that test has:
    whole `pairs`, or all of the same `sources`. Case, white space and punctuation do not tell texts
    apart."""
    max_dropped: Fraction = 0.5
    """Fail when a larger share of a split's pairs is dropped: something is wrong then."""


@dataclass(frozen=True, kw_only=True)
class Truncate(Section):
    """Long texts are cut to their first tokens: in training, validation and test, and by
    `s2s translate` as well."""

    source: PositiveInt | None = None
    """Tokens kept of a source, which is then never too long for `filters.max_length`."""
    target: PositiveInt | None = None
    """Tokens kept of a target, likewise; scores compare with the whole target."""


@dataclass(frozen=True, kw_only=True)
class TargetText(Section):
    """What is done to every target and reference before all else, in all splits: the model learns
    such text, and scores compare with it."""

    lowercase: bool = False
    """Without case."""
    punctuation: bool = True
    """Whether punctuation stays; if not, words that are nothing else go, and so does what stands
    before and behind a word, but an apostrophe."""


Tag = Annotated[str, Field(pattern=r"^<[^\s<>▁]+>$")]
