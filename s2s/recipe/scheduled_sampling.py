"""The recipe's `train.scheduled_sampling`: the model's own tokens in the place of true ones."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.section import Fraction, PositiveFloat, PositiveInt, Section

Draw = Annotated[
    Literal["sample", "best"],
    Field(description="Token to read: drawn from the model's distribution, or its most probable."),
]
Passes = Annotated[
    PositiveInt,
    Field(
        description="Passes that draw tokens, each of which reads those of the one before. One is "
        "usual (Duckworth et al. 2019); with as many as a target has tokens, every token is drawn "
        "after the model's own prefix, as in Bengio et al. 2015."
    ),
]


@dataclass(frozen=True, kw_only=True)
class ConstantSampling(Section):
    """The same probability in all updates."""

    kind: Literal["constant"]
    teacher: Fraction = 0.75
    """Probability of reading the true token."""
    draw: Draw = "sample"
    passes: Passes = 1


@dataclass(frozen=True, kw_only=True)
class LinearSampling(Section):
    """The probability of the true token falls linearly from 1."""

    kind: Literal["linear"]
    updates: PositiveInt
    """Updates until the probability has fallen to `least`."""
    least: Fraction = 0.5
    """Least probability of reading the true token."""
    draw: Draw = "sample"
    passes: Passes = 1


@dataclass(frozen=True, kw_only=True)
class ExponentialSampling(Section):
    """The probability of the true token is k^i in update i."""

    kind: Literal["exponential"]
    k: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Base, below 1: 0.9998 makes the probability 0.5 after 3,466 updates."""
    draw: Draw = "sample"
    passes: Passes = 1


@dataclass(frozen=True, kw_only=True)
class InverseSigmoidSampling(Section):
    """The probability of the true token is k / (k + exp(i / k)) in update i."""

    kind: Literal["inverse_sigmoid"]
    k: Annotated[PositiveFloat, Field(ge=1.0)]
    """Speed, at least 1: the probability is 0.5 after k ln k updates."""
    draw: Draw = "sample"
    passes: Passes = 1


ScheduledSampling = Annotated[
    ConstantSampling | LinearSampling | ExponentialSampling | InverseSigmoidSampling,
    Field(discriminator="kind"),
]
