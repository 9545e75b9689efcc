"""A choice that fits the data, and its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s2s.recipe.data import has_source_text
from s2s.recipe.label_rules import DECODERS
from s2s.recipe.load import Draft
from s2s.recipe.yaml import Keys, dotted, flow


@dataclass(frozen=True)
class Choice:
    """Values for some fields of a recipe, which one reason explains."""

    values: Mapping[Keys, Any]
    """Plain values, as in YAML, by the keys of their fields."""
    reason: str
    """Why, in a few words, with the numbers that decided."""

    def __str__(self) -> str:
        """The choice on one line: the keys with their values, and the reason."""
        shown = ", ".join(f"{dotted(keys)}: {flow(value)}" for keys, value in self.values.items())
        return f"{shown} ({self.reason})"


ALWAYS_CHOSEN = (
    "tokenizer",
    "model.embeddings",
    "model.encoder.width",
    "model.decoder.width",
    "model.dropout.embedding",
    "model.dropout.encoder",
    "model.dropout.decoder",
    "model.dropout.readout",
    "train.batch_tokens",
    "train.optimizer.learning_rate",
    "train.schedule",
    "train.average",
    "train.patience",
    "metrics",
)
"""Fields that are chosen for all data, besides the length of training."""

SOMETIMES_CHOSEN = (
    "data.filters.max_length",
    "data.filters.max_ratio",
    "data.truncate.source",
    "tokenizer.normalization",
    "tokenizer.vocabulary",
    "tokenizer.source.vocabulary",
    "tokenizer.target.vocabulary",
    "model.copy",
    "model.tied",
    "train.epochs",
    "train.budget",
    "train.label_smoothing",
    "train.best",
    "search.max_offset",
)
"""Fields that are chosen for some data, or where the recipe says a part of a section."""

ENCODER_WIDTH = "model.encoder.width"
"""A field without effect on data without source text."""

TIME_LIMITS = ("train.epochs", "train.max_updates", "train.budget")
"""Fields that say how long a training is."""


def says_everything(draft: Draft) -> bool:
    """Whether a recipe says all that is chosen for all data: then nothing is chosen for it, as for
    language models, whose defaults are fixed."""
    if draft.recipe.task == "lm" or draft.recipe.task in DECODERS:
        return True
    tokenizer = draft.data.get("tokenizer")
    sides = [tokenizer, *tokenizer.values()] if isinstance(tokenizer, dict) else []
    is_sized = all(
        "vocabulary" in side
        for side in sides
        if isinstance(side, dict) and side.get("kind") in ("unigram", "bpe")
    )
    has_length = any(draft.says(at(path)) for path in TIME_LIMITS)
    has_text = has_source_text(draft.recipe.data)
    wanted = [path for path in ALWAYS_CHOSEN if has_text or path != ENCODER_WIDTH]
    return is_sized and has_length and all(draft.says(at(path)) for path in wanted)


def at(path: str) -> Keys:
    """The keys of a dotted path."""
    return tuple(path.split("."))
