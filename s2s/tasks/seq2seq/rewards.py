"""Rewards of outputs: a metric of each output's text and the references of its source.

Dimension letters: M outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from s2s.data.store import Corpus
from s2s.metrics.base import Metric, References
from s2s.metrics.build import build
from s2s.metrics.cider import Cider
from s2s.recipe.metric_loss import REWARDS, RewardName
from s2s.recipe.recipe import Recipe
from s2s.recipe.scoring import Scoring
from s2s.spaces import without_end_space
from s2s.special import EOS
from s2s.text.extended_vocabulary import ExtendedVocabulary, extended_vocabulary_of
from s2s.text.tokenizer_pair import TokenizerPair

PER_CENT = 100.0
"""Metrics are in per cent."""


class Rewards:
    """Rewards of texts, a hundredth of a value, negated where lower is better."""

    def __init__(self, name: RewardName, scoring: Scoring, train: "TrainingTexts") -> None:
        """`train` has the references from which CIDEr-D takes its document frequencies.

        Raises UsageError for a tokenization without its package.
        """
        self.reward = REWARDS[name]
        self.metric: Metric = build(self.reward.metric, scoring)
        if isinstance(self.metric, Cider):
            self.metric = self.metric.with_frequencies_of(train.references_of_sources)

    def __call__(self, texts: Sequence[str], references: References) -> NDArray[np.float64]:
        """float64 [M] of texts, each with its references."""
        said = [without_end_space(text) for text in texts]
        values = self.metric.measure([said], references).line_values()
        assert values is not None, "metrics of REWARDS have values of single lines"
        found: NDArray[np.float64] = values[:, self.reward.column]
        return self.reward.sign * found / PER_CENT


@dataclass(frozen=True)
class TrainingTexts:
    """The texts of training: references of pairs, and outputs as texts."""

    recipe: Recipe
    tokenizers: TokenizerPair
    train: Corpus
    """The prepared corpus, with texts."""

    @cached_property
    def references(self) -> References:
        """The references of each pair: the targets of all pairs with the same source, each once."""
        joined = self.references_of_sources
        return [joined[number] for number in self._sources.tolist()]

    @cached_property
    def references_of_sources(self) -> References:
        """The references of each different source."""
        targets, numbers = self.train.target_texts, self._sources
        assert targets is not None, "prepared with texts"
        groups: list[dict[str, None]] = [{} for _ in range(int(numbers.max(initial=-1)) + 1)]
        for number, text in zip(numbers.tolist(), targets, strict=True):
            groups[number][without_end_space(text)] = None
        return [tuple(group) for group in groups]

    @cached_property
    def _sources(self) -> NDArray[np.int64]:
        return self.train.sources()

    def written(self, outputs: Sequence[Sequence[int]], places: Sequence[int]) -> list[str]:
        """The text of outputs, each of the source of the pair at its place."""
        rows = [[token for token in output if token != EOS] for output in outputs]
        extended = self._extended
        if extended is None:
            return self.tokenizers.target.decode(rows)
        distinct = list(dict.fromkeys(places))
        texts, _ = self.train.texts(np.array(distinct))
        if self.train.features is not None:
            texts = self.train.features.read(texts).texts
        cut = self.recipe.data.truncate.source
        read = dict(zip(distinct, (one.cut(cut) for one in extended.read(texts)), strict=True))
        return extended.decode(rows, [read[place] for place in places])

    @cached_property
    def _extended(self) -> ExtendedVocabulary | None:
        return extended_vocabulary_of(self.recipe.model, self.tokenizers)
