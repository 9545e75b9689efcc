"""The recipe's `search`: the algorithm that finds outputs.

A new field of a search is one field below. An option for it is one field of `AllSearchOptions` in
`cli/options/search.py`, under the same name.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.choices import (
    CandidateSource,
    CandidateWeighting,
    LengthNormalization,
    SearchPrecisionChoice,
    UtilityName,
)
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
    """Fields that all kinds of search share; lengths are in tokens.

    Descriptions are arguments of `Field`, because pydantic reads only the docstrings of a class's
    own fields.
    """

    kind: str  # the first key of a written recipe; each kind narrows its type
    max_ratio: Annotated[
        PositiveFloat,
        Field(le=1000, description="Longest output as a multiple of the source's length ..."),
    ] = 2.0
    max_offset: Annotated[Count, Field(le=100_000, description="... plus this many.")] = 20
    min_ratio: Annotated[
        NonNegativeFloat,
        Field(description="Shortest output as a multiple of the source's length ..."),
    ] = 0.0
    min_offset: Annotated[
        Count,
        Field(description="... plus this many; never more than the longest output."),
    ] = 0
    no_repeat_ngram: Annotated[
        PositiveInt | None,
        Field(description="No n-gram of this many tokens occurs twice (Paulus et al. 2018)."),
    ] = None
    repetition_penalty: Annotated[
        PositiveFloat,
        Field(
            description="Factor of the log-probability of tokens that the output has already, for "
            "choosing a token, not for scores; above 1 against repetition."
        ),
    ] = 1.0
    suppress_unknown: Annotated[
        bool,
        Field(
            description="Never output the unknown token `<unk>`: it is excluded from every choice. "
            "Scores stay the model's own, which are not renormalized."
        ),
    ] = False
    shortlist: Annotated[
        Count,
        Field(
            description="Choose only among frequent tokens and so many likely tokens for each "
            "source token, as `s2s shortlist` learned them; 0 for all tokens."
        ),
    ] = 0
    shortlist_frequent: Annotated[
        Count, Field(description="Number of most frequent tokens in every shortlist.")
    ] = 1020
    precision: Annotated[
        SearchPrecisionChoice,
        Field(
            description="Precision of the matrix products of a decoding step: fp32, or less exact "
            "and on most machines faster bf16 or int8 (int8 on a CPU only). auto is the fastest of "
            "these on the machine at hand, so outputs may differ between machines."
        ),
    ] = "fp32"


@dataclass(frozen=True, kw_only=True)
class GreedySearch(Outputs):
    """The most probable token at every step."""

    kind: Literal["greedy"]


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Outputs):
    """Beam search: every step keeps the `width` best prefixes."""

    kind: Literal["beam"]
    width: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of hypotheses at every step."""
    length_penalty: NonNegativeFloat = 1.0
    """Hypotheses are ranked by log-probability / length^length_penalty; 0 for none."""
    length_normalization: LengthNormalization = "length"
    """Base of that power: the `length`, or (5 + length) / 6 (`gnmt`; Wu et al. 2016)."""
    coverage_penalty: NonNegativeFloat = 0.0
    """Weight of the penalty for source tokens with little attention (Wu et al. 2016, section 7);
    needs a model with attention."""
    groups: PositiveInt = 1
    """Groups of the beam, which avoid each other's tokens (Vijayakumar et al. 2016)."""
    diversity: NonNegativeFloat = 0.5
    """Log-probability that a token loses for each hypothesis of earlier groups that chose it in the
    same step. It affects choices, not scores, and has no effect on a single group."""

    def __post_init__(self) -> None:
        if self.width % self.groups:
            raise ValueError(
                f"groups: expected a divisor of the beam's width {self.width}, found {self.groups}"
            )


@dataclass(frozen=True, kw_only=True)
class SampleSearch(Outputs):
    """Sampling: each token is drawn by its probability."""

    kind: Literal["sample"]
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of independent outputs for a line."""
    temperature: NonNegativeFloat = 1.0
    """Divisor of the logits: 1 is the model's own distribution, 0 greedy search."""
    top_k: PositiveInt | None = None
    """Sample from this many of the most probable tokens (Fan et al. 2018)."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Sample from the fewest tokens with this total probability (Holtzman et al. 2020)."""
    min_p: Probability = 0.0
    """Sample from tokens with at least this many times the highest probability (Nguyen et al.
    2024)."""
    seed: Count = 1
    """Seed of the samples. Those of line i depend on it, on i, on the line and on the model."""


@dataclass(frozen=True, kw_only=True)
class ExhaustiveSearch(Outputs):
    """The most probable of all outputs, by branch and bound; reports lines without proof."""

    kind: Literal["exhaustive"]
    nodes: PositiveInt = 10_000
    """Number of prefixes of a line after which the search gives up the proof."""
    width: Annotated[int, Field(ge=1, le=1000)] = 5
    """Width of the beam search whose best outputs are the first bounds."""

    def __post_init__(self) -> None:
        if self.repetition_penalty != 1.0:
            raise ValueError(
                "repetition_penalty has no effect on exhaustive search, which ranks by probability"
            )


@dataclass(frozen=True, kw_only=True)
class MbrSearch(Outputs):
    """Minimum Bayes risk decoding (Kumar & Byrne 2004; Eikema & Aziz 2020): of several candidates
    the one with the highest expected utility, where all candidates serve as references."""

    kind: Literal["mbr"]
    candidates: Annotated[int, Field(ge=1, le=1000)] = 32
    """Number of candidates from each source; time grows with its square."""
    candidates_from: CandidateSource = "sample"
    """Source of the candidates: independent samples, the hypotheses of a beam of that width, or
    `both`, of each so many."""
    utility: Annotated[tuple[UtilityName, ...], Field(min_length=1)] = ("chrf",)
    """Metrics of a candidate against another, in per cent and for a sentence: 100 minus the rate
    for wer, cer and per. The mean of several."""
    weighting: CandidateWeighting = "count"
    """Weight of a candidate as a reference: how often it was found, or its `probability` among the
    candidates."""
    temperature: NonNegativeFloat = 1.0
    """Samples: divisor of the logits."""
    top_k: PositiveInt | None = None
    """Samples: from this many of the most probable tokens."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Samples: from the fewest tokens with this total probability."""
    min_p: Probability = 0.0
    """Samples: from tokens with at least this many times the highest probability."""
    seed: Count = 1
    """Samples: their seed, as in search `sample`."""
    length_penalty: NonNegativeFloat = 1.0
    """Beam: its length penalty, which decides when it stops."""

    def __post_init__(self) -> None:
        if len(set(self.utility)) < len(self.utility):
            raise ValueError(f"utility: expected every metric once, found {list(self.utility)}")


@dataclass(frozen=True, kw_only=True)
class RerankSearch(Outputs):
    """Hypotheses of a beam, ranked by a weighted sum of features as `s2s tune-rerank` tuned it."""

    kind: Literal["rerank"]
    candidates: Annotated[int, Field(ge=1, le=1000)] = 20
    """Number of hypotheses, and width of the beam."""
    length_penalty: NonNegativeFloat = 1.0
    """Length penalty of the beam, which decides when it stops."""


CandidateSearch = MbrSearch | RerankSearch
"""Searches that rank the results of others."""

Search = Annotated[
    GreedySearch | BeamSearch | SampleSearch | ExhaustiveSearch | MbrSearch | RerankSearch,
    Field(discriminator="kind"),
]
