"""Rules for training on a metric, which tie `train.metric_loss` to the rest of the recipe."""

from collections.abc import Iterator

from s2s.recipe.choices import TaskName
from s2s.recipe.label_rules import DECODERS
from s2s.recipe.metric_loss import MinimumRisk
from s2s.recipe.model import HardAttention, Model
from s2s.recipe.search import BeamSearch
from s2s.recipe.train import Train

LIMITS = {"max_ratio": 2.0, "max_offset": 20, "min_ratio": 0.0, "min_offset": 0}
"""The limits of lengths, with their defaults."""

OF_CROSS_ENTROPY = (
    "r_drop",
    "scheduled_sampling",
    "coverage_loss",
    "doubly_stochastic",
    "guided_alignment",
)
"""Fields of `train` that add to cross-entropy."""


def metric_loss_faults(task: TaskName, model: Model, train: Train) -> Iterator[str]:
    """Faults of training on a metric."""
    recipe = train.metric_loss
    if recipe is None:
        return
    if task == "lm":
        yield "train.metric_loss compares outputs with references, and task 'lm' has none"
    elif task in DECODERS:
        yield f"train.metric_loss is of texts, and task '{task}' predicts labels"
    if isinstance(model.attention, HardAttention):
        yield (
            f"train.metric_loss is not for model.attention '{model.attention.kind}', whose "
            "probabilities sum over alignments; use soft attention"
        )
    if train.max_updates is not None and recipe.start >= train.max_updates:
        yield (
            f"train.metric_loss.start: expected less than train.max_updates ({train.max_updates}), "
            f"found {recipe.start}: the loss would never begin"
        )
    if not recipe.cross_entropy and not recipe.start:
        yield from _cross_entropy_faults(train)
    if isinstance(recipe, MinimumRisk):
        yield from _candidate_faults(recipe, model)


def _cross_entropy_faults(train: Train) -> Iterator[str]:
    """Faults of what adds to cross-entropy, where that is not minimized."""
    for name in OF_CROSS_ENTROPY:
        if getattr(train, name):
            yield (
                f"train.{name} adds to cross-entropy, whose weight is 0; raise "
                "train.metric_loss.cross_entropy, or remove it"
            )
    if train.distill is not None and train.distill.has_distributions:
        yield (
            f"train.distill.level '{train.distill.level}' adds to cross-entropy, whose weight "
            "is 0; raise train.metric_loss.cross_entropy, or use 'sequence'"
        )


def _candidate_faults(recipe: MinimumRisk, model: Model) -> Iterator[str]:
    """Faults of the search for candidates."""
    search, place = recipe.candidates, "train.metric_loss.candidates"
    for name, value in LIMITS.items():
        if getattr(search, name) != value:
            yield f"{place}.{name} has no effect: search.{name} limits the lengths; remove it"
    if search.shortlist:
        yield f"{place}.shortlist has no effect: candidates may have all tokens; remove it"
    has_attention = model.attention.kind != "none"
    if isinstance(search, BeamSearch) and search.coverage_penalty and not has_attention:
        yield f"{place}.coverage_penalty needs a model with attention"
