"""The recipe's `train`: how parameters are found."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from s2s.recipe.metrics import BestName
from s2s.recipe.section import (
    AUTO,
    NUMBER,
    Count,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
    number_or_auto,
)

BatchTokens = Annotated[
    Annotated[int, Field(ge=16), Tag(NUMBER)] | Annotated[Literal["auto"], Tag(AUTO)],
    Discriminator(number_or_auto),
]


@dataclass(frozen=True, kw_only=True)
class Optimizer(Section):
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adam", "adamw"] = "adam"
    """Which optimizer."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    beta1: Probability = 0.9
    """Decay of the mean of gradients."""
    beta2: Probability = 0.98
    """Decay of the mean of squared gradients."""
    epsilon: PositiveFloat = 1e-9
    """Added to the denominator."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay of AdamW."""

    def __post_init__(self) -> None:
        if self.kind == "adam" and self.weight_decay > 0:
            raise ValueError("weight_decay needs optimizer 'adamw'")


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule(Section):
    """Constant after a linear warm-up."""

    kind: Literal["constant"]
    warmup: Count = 0
    """Updates of linear warm-up."""


@dataclass(frozen=True, kw_only=True)
class InverseSqrtSchedule(Section):
    """Linear warm-up, then 1/sqrt(update) (Vaswani et al. 2017, section 5.3)."""

    kind: Literal["inverse_sqrt"]
    warmup: PositiveInt = 1000
    """Updates of linear warm-up."""


@dataclass(frozen=True, kw_only=True)
class CosineSchedule(Section):
    """Linear warm-up, then half a cosine down to `floor` at the last update."""

    kind: Literal["cosine"]
    warmup: Count = 200
    """Updates of linear warm-up."""
    floor: Fraction = 0.01
    """Final learning rate as a share of the peak."""


@dataclass(frozen=True, kw_only=True)
class PlateauSchedule(Section):
    """Linear warm-up, then times `factor` whenever validation has not improved `patience` times."""

    kind: Literal["plateau"]
    warmup: Count = 0
    """Updates of linear warm-up."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What the learning rate is multiplied by."""
    patience: PositiveInt = 2
    """Validations without improvement before that."""


Schedule = Annotated[
    ConstantSchedule | InverseSqrtSchedule | CosineSchedule | PlateauSchedule,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True)
class Train(Section):
    """How the parameters are found: teacher forcing, cross-entropy averaged over tokens."""

    epochs: PositiveInt = 30
    """Passes over the training data."""
    max_updates: PositiveInt | None = None
    """Stop after this many updates even within the epochs."""
    batch_tokens: BatchTokens = 2000
    """Tokens of a batch's sources, and of its targets, at most, padding included: the longer side
    decides, so where sources are long a batch holds few pairs. `auto`: as many as memory holds when
    training begins, but no more than leave an epoch 100 updates."""
    accumulate: PositiveInt = 1
    """Batches whose gradients make one update."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """How gradients change parameters."""
    schedule: Schedule = field(default_factory=lambda: CosineSchedule(kind="cosine"))
    """How the learning rate moves."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest gradient norm (Pascanu et al. 2013); null for no clipping."""
    label_smoothing: Probability = 0.1
    """Share of probability spread over the vocabulary (Szegedy et al. 2016)."""
    r_drop: NonNegativeFloat = 0.0
    """Weight of R-Drop, the divergence between what two dropout masks make of a pair (Liang et al.
    2021, whose alpha it is: 5 for translation); 0 for none. Every pair is read twice in one pass,
    which costs twice the time and memory; `batch_tokens` counts it once."""
    coverage_loss: NonNegativeFloat = 0.0
    """Weight of the coverage loss, which makes it dear to attend to the same source token again
    (See et al. 2017, section 2.3, where it is 1); 0 for none."""
    coverage_start: Count = 0
    """Updates before the coverage loss sets in: from the first on it may hinder learning where to
    look (See et al. 2017, section 5, add it to a trained model)."""
    doubly_stochastic: NonNegativeFloat = 0.0
    """Weight of sum_i (1 - sum_t a_ti)^2 for each pair, which wants every source position, such as
    every region of an image, to be looked at as much as any other (Xu et al. 2015, section 4.2.1,
    equation 14); 0 for none."""
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the exponential moving average of the weights; 0 for none. The average is what is
    validated, saved and used."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """`auto`: bf16 where the hardware multiplies it faster, else fp32. `tf32`, on a GPU alone:
    fp32 whose products round what they multiply to 10 bits of mantissa."""
    validate_every: PositiveInt | None = None
    """Updates between validations; every epoch if not given."""
    best: BestName = "bleu"
    """Validation score that chooses the best checkpoint and ends training early; of error rates,
    perplexity and loss the lowest is best."""
    patience: PositiveInt | None = 10
    """Validations without improvement before training stops; null to go to the end."""
    save_minutes: PositiveFloat = 5.0
    """Longest time between checkpoints: what a power cut can cost."""
    keep: Count = 0
    """The weights of so many of the latest validations stay, for `s2s average` to average; those of
    the last and the best checkpoint stay in any case."""

    @property
    def fixed_batch_tokens(self) -> int:
        """`batch_tokens` as a number: `auto` has been decided before."""
        assert self.batch_tokens != "auto", "decided before training (s2s.train.batch_size_finder)"
        return self.batch_tokens
