"""All choices for a recipe: what it does not say, by the counts of its data."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from s2s.recipe.data import has_source_text, image_features_of
from s2s.recipe.load import Draft, plain_recipe
from s2s.recipe.metrics import VALUES
from s2s.recipe.model import AdditiveAttention, DotAttention, GeneralAttention
from s2s.recipe.recipe import Recipe
from s2s.recipe.section import seconds_of
from s2s.recipe.yaml import Keys
from s2s.tasks.defaults.choice import ENCODER_WIDTH, TIME_LIMITS, Choice, at
from s2s.tasks.defaults.counts import PairCounts, SideCounts
from s2s.tasks.defaults.rules import (
    BUDGET,
    Lengths,
    choose_batch,
    choose_copying,
    choose_dropout,
    choose_filters,
    choose_metrics,
    epochs_for,
    lengths_of,
    sizes_for,
)
from s2s.tasks.defaults.sizes import LARGE, SIZES, SMALL, TINY, Size
from s2s.tasks.defaults.speed import BatchShape, seconds_per_update
from s2s.tasks.defaults.steps import step_of
from s2s.tasks.defaults.tokenizers import choose_tokenizers, vocabulary_for

NEEDED_EPOCHS = ((1e6, 15), (3e6, 8))
"""Epochs that a larger model needs to be the better one, for at most so many target tokens."""

MOST_TOKENS_EPOCHS = 4
"""The same for more tokens."""

FEWEST_EPOCHS = 2
"""Epochs that a small model needs to be better than a tiny one."""

SOFT = (DotAttention, GeneralAttention, AdditiveAttention)
"""Attention that a model can copy by."""

SOURCE_FEATURES = 6.0
"""Assumed tokens of a source's features."""

Measure = Callable[[Recipe, BatchShape, torch.device], float]


class Chosen(NamedTuple):
    """Choices, and how long an epoch with them takes."""

    choices: list[Choice]
    epoch_seconds: float | None
    """Seconds of an epoch on this machine, without validation; None where nothing was measured."""


def choose_defaults(
    draft: Draft, counts: PairCounts, device: torch.device, measure: Measure = seconds_per_update
) -> Chosen:
    """The choices for everything that the recipe does not say, each with its reason."""
    chooser = _Chooser(draft, counts, device, measure)
    choices = list(chooser.choices())
    return Chosen(choices, chooser.epoch_seconds)


@dataclass
class _Chooser:
    draft: Draft
    counts: PairCounts
    device: torch.device
    measure: Measure
    epoch_seconds: float | None = None

    def choices(self) -> Iterator[Choice]:
        """The choices in the order of the recipe's sections."""
        for choice in self._all():
            said = self.draft.says
            values = {keys: value for keys, value in choice.values.items() if not said(keys)}
            if values:
                yield Choice(values, choice.reason)

    def _all(self) -> Iterator[Choice]:
        section, choices = self._tokenizer()
        yield from choices
        has_features = bool(section.get("source_features"))
        lengths = lengths_of(self.counts, section, SOURCE_FEATURES if has_features else 0.0)
        if self._has_text:
            yield from choose_filters(self.counts, lengths, has_features=has_features)
        if isinstance(self.draft.recipe.model.attention, SOFT) and self._has_text:
            yield from choose_copying(self.counts, section)
        yield from self._model(section, lengths)
        yield from self._metrics(section)

    @property
    def _has_text(self) -> bool:
        return has_source_text(self.draft.recipe.data)

    def _tokenizer(self) -> tuple[dict[str, Any], list[Choice]]:
        """The tokenizer's section, and the choices of it."""
        draft, counts = self.draft, self.counts
        if not draft.says(("tokenizer",)):
            section, choice = choose_tokenizers(
                counts, has_source=self._has_text, has_features=bool(counts.feature_characters)
            )
            return section, [choice]
        section = plain_recipe(draft.recipe)["tokenizer"]
        places: dict[Keys, tuple[SideCounts, ...]] = {
            ("tokenizer",): (counts.source, counts.target)
        }
        if section["kind"] == "separate":
            places = {
                ("tokenizer", "source"): (counts.source,),
                ("tokenizer", "target"): (counts.target,),
            }
        values: dict[Keys, Any] = {}
        for place, sides in places.items():
            part = section if len(place) == 1 else section[place[1]]
            keys = (*place, "vocabulary")
            if part["kind"] in ("unigram", "bpe") and not draft.says(keys):
                values[keys] = part["vocabulary"] = vocabulary_for(counts, *sides)
        return section, [Choice(values, f"{counts.pairs:,} pairs")] if values else []

    def _model(self, section: dict[str, Any], lengths: Lengths) -> Iterator[Choice]:
        """Size, dropout, batches and schedule."""
        pairs, batch = choose_batch(lengths, is_cuda=self.device.type == "cuda")
        source = _vocabulary(section.get("source", section), self.counts.source.alphabet)
        target = _vocabulary(section.get("target", section), self.counts.target.alphabet)
        if "source" not in section:  # one tokenizer, whose ids both sides share
            source = target = max(source, target)
        shape = BatchShape(pairs, lengths.source + 1, lengths.target + 1, source, target)
        size, reason = self._size(lengths, shape, batch.values)
        no_text = () if self._has_text else (at(ENCODER_WIDTH),)
        yield Choice({k: v for k, v in size.values.items() if k not in no_text}, reason)
        yield choose_dropout(lengths, size)
        yield batch
        is_large = size is LARGE
        yield Choice(
            {
                at("train.optimizer.learning_rate"): size.learning_rate,
                at("train.schedule"): {"kind": "cosine", "warmup": 100},
                at("train.average"): 0.998 if is_large else 0.99,
                at("train.patience"): None,
            },
            f"for a {size.name} model: a high rate, which the cosine lowers to its end",
        )
        if not any(self.draft.says(at(path)) for path in TIME_LIMITS):
            epochs = epochs_for(self.counts.pairs)
            yield Choice(
                {at("train.epochs"): epochs, at("train.budget"): BUDGET},
                f"{epochs} epochs of {self.counts.pairs:,} pairs, or as many as the time allows; "
                "more time is better",
            )
        elif self.draft.says(at("train.budget")) and not self.draft.says(at("train.epochs")):
            epochs = epochs_for(self.counts.pairs)
            yield Choice(
                {at("train.epochs"): epochs}, f"more do not help {self.counts.pairs:,} pairs"
            )

    def _size(
        self, lengths: Lengths, shape: BatchShape, values: Mapping[Keys, Any]
    ) -> tuple[Size, str]:
        """The largest size that has time for enough epochs, and why."""
        few = f"{self.counts.pairs:,} pairs"
        if not self._has_text or image_features_of(self.draft.recipe.data):
            return SMALL, few
        if all(map(self.draft.says, SMALL.values)):
            width = self.draft.recipe.model.decoder.width
            return min(SIZES, key=lambda size: abs(size.decoder - width)), "the recipe's widths"
        budget = seconds_of(self.draft.recipe.train.budget or BUDGET)
        needed = step_of(lengths.total_target, NEEDED_EPOCHS, MOST_TOKENS_EPOCHS)
        updates = max(1.0, self.counts.pairs / shape.pairs)
        epochs = 0.0
        for size in sizes_for(lengths):
            recipe = self.draft.completed({**values, **size.values})
            seconds = self.measure(recipe, shape, self.device)
            self.epoch_seconds = seconds * updates
            epochs = budget / self.epoch_seconds
            speed = f"{shape.target_tokens / seconds:,.0f} target tokens/s here"
            done = f"{epochs:.0f} epochs in {budget / 60:.3g} min"
            if epochs >= needed:
                return size, f"{size.name}: {few}, {speed}: {done}"
        if epochs < FEWEST_EPOCHS:
            return TINY, f"tiny: {few}; a small model would have only {epochs:.1f} epochs"
        return SMALL, f"small: {few}, {speed}: {done}"

    def _metrics(self, section: dict[str, Any]) -> Iterator[Choice]:
        draft, recipe = self.draft, self.draft.recipe
        choice = choose_metrics(self.counts, section.get("target", section))
        best = choice.values[at("train.best")]
        if draft.says(at("metrics")):
            named = [value for metric in recipe.metrics for value in VALUES[metric]]
            best = best if best in named else named[0]
            yield Choice({at("train.best"): best}, "among the recipe's metrics")
        elif not draft.says(at("train.best")) or recipe.train.best in (best, "loss"):
            yield choice
        if best == "perplexity":
            yield Choice(
                {at("train.label_smoothing"): 0.0},
                "perplexity is of the model's own distribution",
            )


def _vocabulary(section: Mapping[str, Any], alphabet: Mapping[str, int]) -> int:
    """The size of a side's vocabulary, estimated where it depends on the data."""
    match section["kind"]:
        case "unigram" | "bpe":
            return int(section["vocabulary"])
        case "character":
            return len(alphabet) + 4
        case _:
            return int(section.get("vocabulary") or 1000)
