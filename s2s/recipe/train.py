"""The recipe's `train`: optimization of the parameters."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from s2s.recipe.choices import TrackerName
from s2s.recipe.guided_alignment import GuidedAlignment
from s2s.recipe.metric_loss import MetricLoss
from s2s.recipe.metrics import BestName
from s2s.recipe.scheduled_sampling import ScheduledSampling
from s2s.recipe.section import (
    AUTO,
    NUMBER,
    Count,
    Duration,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
    number_or_auto,
    seconds_of,
)
from s2s.recipe.synthetic import Distill
from s2s.recipe.transfer import PARTS, InitFrom, Part, doubled

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
    """Term that is added to the denominator."""
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
    """Linear warm-up, then a reduction after each `patience` validations without improvement."""

    kind: Literal["plateau"]
    warmup: Count = 0
    """Updates of linear warm-up."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Factor of the learning rate."""
    patience: PositiveInt = 2
    """Validations without improvement before a reduction."""


Schedule = Annotated[
    ConstantSchedule | InverseSqrtSchedule | CosineSchedule | PlateauSchedule,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True)
class Stream(Section):
    """Sentences as one stream, in windows of truncated backpropagation through time: the state is
    carried from window to window, gradients are not (Zaremba et al. 2014, section 4.1)."""

    rows: PositiveInt = 20
    """Parts of the stream that are read side by side, the rows of a batch."""
    window: PositiveInt = 35
    """Tokens of a row in a batch."""


def _or_text(schema: dict[str, Any]) -> None:
    """The JSON Schema of a section that a text may stand for (`s2s.recipe.shorthands`)."""
    schema["anyOf"].insert(0, {"type": "string", "minLength": 1})


@dataclass(frozen=True, kw_only=True)
class Train(Section):
    """Training by teacher forcing; the loss is the mean cross-entropy of the target tokens."""

    epochs: PositiveInt = 30
    """Passes over the training data."""
    max_updates: PositiveInt | None = None
    """Largest number of updates, even if epochs remain."""
    budget: Duration | None = None
    """Time for training and its validations, such as `15 min`; null for no limit. The speed of the
    first updates decides how many there will be, and later speeds correct it, so that a cosine
    schedule ends on time. `epochs` and `max_updates` are limits beside it. Two trainings with a
    budget differ as much as their speeds do."""
    batch_tokens: BatchTokens = 2000
    """Largest number of tokens of a batch's sources, and of its targets, with padding. The side
    with more tokens limits the batch, so long sources leave few pairs in it. `auto`: as many as
    memory holds when training begins, but an epoch keeps at least 100 updates."""
    stream: Stream | None = None
    """Train a language model on one stream of sentences; null for each sentence by itself. Its
    batches have rows times window tokens, whatever `batch_tokens` says."""
    accumulate: PositiveInt = 1
    """Number of batches whose gradients are summed for one update."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """Optimizer and its hyperparameters."""
    schedule: Schedule = field(default_factory=lambda: CosineSchedule(kind="cosine"))
    """Schedule of the learning rate."""
    clip_norm: PositiveFloat | None = 1.0
    """Norm above which gradients are clipped (Pascanu et al. 2013); null for no clipping."""
    label_smoothing: Probability = 0.1
    """Probability mass that is spread over the vocabulary (Szegedy et al. 2016)."""
    r_drop: NonNegativeFloat = 0.0
    """Weight of R-Drop, the divergence between the distributions under two dropout masks (alpha in
    Liang et al. 2021, who use 5 for translation); 0 for none. The model reads every pair twice,
    which doubles time and memory; `batch_tokens` counts it once."""
    scheduled_sampling: ScheduledSampling | None = None
    """Share of the decoder's inputs that are its own predictions (Bengio et al. 2015); null for
    teacher forcing alone. Every pass over the target that draws tokens takes a forward pass of the
    decoder."""
    metric_loss: MetricLoss | None = None
    """Training on a metric of whole outputs: minimum-risk training (Shen et al. 2016) or
    self-critical sequence training (Rennie et al. 2017); null for cross-entropy alone. The model
    writes outputs in every update, which takes several times as long; it is usual for a trained
    run (`init_from`)."""
    coverage_loss: NonNegativeFloat = 0.0
    """Weight of the coverage loss, which penalizes repeated attention to a source token (See et al.
    2017, section 2.3, who use 1); 0 for none."""
    coverage_start: Count = 0
    """Number of updates without coverage loss: from the beginning on, it can hinder the learning of
    attention (See et al. 2017, section 5, add it to a trained model)."""
    doubly_stochastic: NonNegativeFloat = 0.0
    """Weight of sum_i (1 - sum_t a_ti)^2 for each pair, which favours equal attention to all source
    positions, such as the regions of an image (Xu et al. 2015, section 4.2.1, equation 14); 0 for
    none."""
    guided_alignment: GuidedAlignment | None = None
    """Word alignments that attention learns from beside the task (Chen et al. 2016); null for
    none."""
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the exponential moving average of the weights; 0 for none. Validation, checkpoints
    and translation use the average."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """`auto`: bf16 if the hardware multiplies it faster, else fp32. `tf32`, only on a GPU: fp32,
    but matrix products round their factors to 10 bits of mantissa."""
    validate_every: PositiveInt | None = None
    """Number of updates between validations; by default an epoch, and with a `budget` a twentieth
    of the training."""
    best: BestName = "bleu"
    """Validation score that chooses the best checkpoint and ends training early; of error rates,
    perplexity and loss the lowest is best. By default the first of the metrics if `bleu` is not
    among them. Equal scores leave the decision to the loss."""
    patience: PositiveInt | None = 10
    """Validations without improvement after which training stops; null for never."""
    save_minutes: PositiveFloat = 5.0
    """Longest time between checkpoints in minutes, and so the most that a power cut can lose."""
    keep: Count = 0
    """Number of latest validations whose weights are kept, for `s2s average`. The last and the best
    checkpoint are always kept."""

    init_from: Annotated[InitFrom | None, Field(json_schema_extra=_or_text)] = None
    """A trained run whose weights training begins with, to go on with other data or another
    learning rate; null for none. A run alone, `init_from: RUN`, is short for `{run: RUN}`. Without
    `model` and `tokenizer`, the recipe has those of the run."""
    freeze: tuple[Part, ...] = ()
    """Parts that training leaves as they are, with the names of `init_from.parts`: they get no
    gradients. Weights that parts share (`model.tied`) are frozen if one of them is."""
    distill: Annotated[Distill | None, Field(json_schema_extra=_or_text)] = None
    """Teachers, trained runs that the model learns from beside the data (Kim & Rush 2016); null for
    none. A run alone, `distill: RUN`, is short for `{teacher: RUN}`."""
    log_to: tuple[TrackerName, ...] = ()
    """Experiment trackers that follow the training beside `metrics.jsonl`: `tensorboard`, `wandb`
    (Weights & Biases), `mlflow`. Each needs its package; one that fails does not stop training."""

    def __post_init__(self) -> None:
        if len(set(self.log_to)) < len(self.log_to):
            raise ValueError(f"log_to has a tracker twice: {', '.join(self.log_to)}")
        if self.r_drop and self.scheduled_sampling is not None:
            raise ValueError(
                "r_drop compares two passes over the same inputs, and scheduled_sampling draws "
                "different ones; remove one"
            )
        if fault := doubled(self.freeze):
            raise ValueError(f"freeze has '{fault}' twice")
        if set(self.freeze) == set(PARTS):
            raise ValueError(
                "freeze has all parts, so that nothing would be trained; leave one out"
            )
        if self.budget is not None and seconds_of(self.budget) <= 0.0:
            raise ValueError(f"budget: expected more than no time, found {self.budget!r}")

    @property
    def budget_seconds(self) -> float | None:
        """`budget` in seconds."""
        return None if self.budget is None else seconds_of(self.budget)

    @property
    def fixed_batch_tokens(self) -> int:
        """`batch_tokens` as a number, after `auto` has been replaced by one."""
        assert self.batch_tokens != "auto", "training replaces it (s2s.training.batch_size_finder)"
        return self.batch_tokens
