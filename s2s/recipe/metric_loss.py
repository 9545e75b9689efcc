"""The recipe's `train.metric_loss`: training on a metric of whole outputs."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, assert_never

from pydantic import Field

from s2s.recipe.metrics import METRICS, VALUES, MetricName, ValueName
from s2s.recipe.search import BeamSearch, GreedySearch, SampleSearch
from s2s.recipe.section import Count, NonNegativeFloat, PositiveFloat, Section

WITHOUT_REWARD: dict[MetricName, str] = {
    "distinct": "is of all outputs together and has no references",
    "variety": "is of all outputs together and has no references",
    "accuracy": "compares labels",
    "macro_f1": "compares labels",
    "token_accuracy": "compares labels",
    "span_f1": "compares labels",
}
"""Metrics of text that do not compare an output with its references, and what they do."""


class Reward(NamedTuple):
    """The place of a value among metrics."""

    metric: MetricName
    """Its metric."""
    column: int
    """Its place among the values of the metric."""
    sign: float
    """-1 where lower is better, else 1."""


REWARDS: dict[str, Reward] = {
    value.name: Reward(name, column, -1.0 if value.is_lower_better else 1.0)
    for name, entry in METRICS.items()
    if entry.builder is not None and name not in WITHOUT_REWARD
    for column, value in enumerate(entry.values)
}
"""The values that an output has by itself, given its references."""

RewardName = Annotated[
    ValueName,
    Field(
        description="Value to train on, of each output by itself: `bleu` (smoothed, as in `s2s "
        "compare`), `chrf`, `rougeL`, `cider` (its document frequencies are those of the training "
        "references), `meteor`, `exact`, `cer`, ... Of error rates, lower is better. The reward is "
        "a hundredth of it: of BLEU from 0 to 1."
    ),
]
CandidateSearch = Annotated[GreedySearch | BeamSearch | SampleSearch, Field(discriminator="kind")]
Weight = Annotated[
    NonNegativeFloat,
    Field(description="Weight of this loss, which is summed over pairs."),
]
CrossEntropyWeight = Annotated[
    NonNegativeFloat,
    Field(
        description="Weight of the cross-entropy beside it, with all that the recipe adds to that, "
        "such as label smoothing; 0 for none."
    ),
]
Start = Annotated[
    Count,
    Field(
        description="Number of updates on cross-entropy alone, before this loss and the weights "
        "begin."
    ),
]


@dataclass(frozen=True, kw_only=True)
class MinimumRisk(Section):
    """Minimum-risk training: the expected error of some candidate outputs, under the model's
    probabilities of these (Shen et al. 2016, section 3)."""

    kind: Literal["minimum_risk"]
    metric: RewardName
    candidates: CandidateSearch = field(
        default_factory=lambda: SampleSearch(kind="sample", samples=8)
    )
    """Search that finds the candidates of each pair, with the current weights and without dropout:
    all samples, or all outputs of a beam. Their lengths are limited by `search` of the recipe.
    Equal ones count once."""
    reference: bool = True
    """Whether the target of the pair is a candidate too."""
    alpha: PositiveFloat = 0.005
    """Sharpness: the probabilities of candidates are p^alpha, renormalized."""
    weight: Weight = 1.0
    cross_entropy: CrossEntropyWeight = 0.0
    start: Start = 0

    def __post_init__(self) -> None:
        _check(self.metric, self.weight, self.cross_entropy)
        count = num_candidates(self.candidates)
        if count + self.reference < 2:
            raise ValueError(
                "candidates: expected 2 or more, as one has no probability to lose, found "
                f"{count}; raise samples or width, choose kind 'sample' or 'beam', or say "
                "reference: true"
            )


@dataclass(frozen=True, kw_only=True)
class SelfCritical(Section):
    """Self-critical sequence training: REINFORCE, whose baseline is the reward of another output
    of the same model (Rennie et al. 2017, section 3)."""

    kind: Literal["self_critical"]
    metric: RewardName
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of outputs that are drawn for each pair, with the current weights and without
    dropout. Their lengths are limited by `search` of the recipe."""
    baseline: Literal["greedy", "samples"] = "greedy"
    """Reward to compare with: of the output of greedy search (Rennie et al. 2017), or the mean of
    the pair's other `samples`, which saves that search (Luo 2020, who draws 5)."""
    weight: Weight = 1.0
    cross_entropy: CrossEntropyWeight = 0.0
    start: Start = 0

    def __post_init__(self) -> None:
        _check(self.metric, self.weight, self.cross_entropy)
        if self.baseline == "samples" and self.samples < 2:
            raise ValueError(
                f"samples: expected 2 or more for baseline 'samples', found {self.samples}"
            )


def num_candidates(search: CandidateSearch) -> int:
    """Most different outputs that a search finds for a pair."""
    match search:
        case GreedySearch():
            return 1
        case BeamSearch():
            return search.width
        case SampleSearch():
            is_constant = search.temperature == 0.0 or search.top_k == 1
            return 1 if is_constant else search.samples
        case _:
            assert_never(search)


MetricLoss = Annotated[MinimumRisk | SelfCritical, Field(discriminator="kind")]


def _check(metric: ValueName, weight: float, cross_entropy: float) -> None:
    """Raise ValueError for a value that no single output has, and where nothing is trained."""
    if metric not in REWARDS:
        name = next(name for name in METRICS if metric in VALUES[name])
        reason = METRICS[name].only_of_runs
        why = WITHOUT_REWARD[name] if reason is None else f"is not of single outputs: {reason}"
        listed = ", ".join(REWARDS)
        raise ValueError(f"metric: '{metric}' {why}; expected one of {listed}")
    if not weight and not cross_entropy:
        raise ValueError("weight and cross_entropy are both 0, so that nothing would be trained")
