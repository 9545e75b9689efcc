"""The recipe's `search`: how an output is looked for."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.choices import LengthNormalization, SearchPrecisionChoice
from s2s.recipe.section import (
    Count,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)


@dataclass(frozen=True, kw_only=True)
class Outputs(Section):
    """What every search asks of an output; lengths are in tokens.

    Descriptions stand in `Field`: for a schema, pydantic reads docstrings of a class's own fields
    only.
    """

    kind: str  # first in a recipe that is written out; each kind narrows it
    max_ratio: Annotated[
        PositiveFloat, Field(description="Longest output as a multiple of the source's length ...")
    ] = 2.0
    max_offset: Annotated[Count, Field(description="... plus this many.")] = 20
    min_ratio: Annotated[
        NonNegativeFloat,
        Field(description="Shortest output as a multiple of the source's length ..."),
    ] = 0.0
    min_offset: Annotated[
        Count,
        Field(description="... plus this many; never more than the longest has room for."),
    ] = 0
    no_repeat_ngram: Annotated[
        PositiveInt | None,
        Field(description="No n-gram of this many tokens occurs twice (Paulus et al. 2018)."),
    ] = None
    repetition_penalty: Annotated[
        PositiveFloat,
        Field(
            description="What the log-probability of a token is multiplied by when the output "
            "holds it already, in choosing it, not in its score; above 1 against repetition."
        ),
    ] = 1.0
    shortlist: Annotated[
        Count,
        Field(
            description="Outputs are made of so many likely tokens for each source token, as "
            "`s2s shortlist` learned them, and of frequent ones; of all tokens if 0."
        ),
    ] = 0
    shortlist_frequent: Annotated[
        Count, Field(description="The most frequent tokens that every shortlist holds.")
    ] = 1020
    precision: Annotated[
        SearchPrecisionChoice,
        Field(
            description="How the matrix products of a decoding step are computed: fp32, or less "
            "exactly and on most machines faster in bf16 or int8 (int8 on a CPU only). auto is the "
            "fastest of these on the machine that searches, so outputs may differ by machine."
        ),
    ] = "fp32"


@dataclass(frozen=True, kw_only=True)
class GreedySearch(Outputs):
    """The most probable token at every step."""

    kind: Literal["greedy"]


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Outputs):
    """Beam search, keeping the `width` best prefixes."""

    kind: Literal["beam"]
    width: Annotated[int, Field(ge=1, le=1000)] = 5
    """Hypotheses kept at every step."""
    length_penalty: NonNegativeFloat = 1.0
    """Hypotheses are ranked by log-probability / length^length_penalty; 0 for none."""
    length_normalization: LengthNormalization = "length"
    """What is raised to that power: the `length`, or (5 + length) / 6 (`gnmt`; Wu et al. 2016)."""
    coverage_penalty: NonNegativeFloat = 0.0
    """Weight of the penalty for source words that got little attention (Wu et al. 2016, section
    7); needs a model with attention."""
    groups: PositiveInt = 1
    """Groups the beam is divided into; they avoid each other's tokens (Vijayakumar et al. 2016)."""
    diversity: NonNegativeFloat = 0.5
    """How much less log-probability a token has in choosing, not in its score, for each hypothesis
    of earlier groups that has it in the same step; of no use to a single group."""

    def __post_init__(self) -> None:
        if self.width % self.groups:
            raise ValueError(
                f"groups: expected a divisor of the beam's width {self.width}, found {self.groups}"
            )


@dataclass(frozen=True, kw_only=True)
class SampleSearch(Outputs):
    """Outputs drawn at random, each token by its probability."""

    kind: Literal["sample"]
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """Outputs drawn for a line, each independent of the others."""
    temperature: NonNegativeFloat = 1.0
    """What logits are divided by: 1 is the model's own distribution, 0 greedy search."""
    top_k: PositiveInt | None = None
    """Draw from this many of the most probable tokens (Fan et al. 2018)."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the fewest tokens that hold this much probability (Holtzman et al. 2020)."""
    min_p: Probability = 0.0
    """Draw from tokens at least this many times as probable as the most probable one (Nguyen et
    al. 2024)."""
    seed: Count = 1
    """What line i's samples depend on, beside the model, the line and i."""


@dataclass(frozen=True, kw_only=True)
class ExhaustiveSearch(Outputs):
    """The most probable of all outputs, by branch and bound; says where it could not prove it."""

    kind: Literal["exhaustive"]
    nodes: PositiveInt = 10_000
    """Prefixes looked at for a line before it is given up as not proven."""
    width: Annotated[int, Field(ge=1, le=1000)] = 5
    """Width of the beam whose best outputs it starts from."""

    def __post_init__(self) -> None:
        if self.repetition_penalty != 1.0:
            raise ValueError(
                "repetition_penalty has no use in exhaustive search, which ranks by probability"
            )


Search = Annotated[
    GreedySearch | BeamSearch | SampleSearch | ExhaustiveSearch, Field(discriminator="kind")
]
