"""Shallow fusion: a model and a language model as one scorer, which adds their log-probabilities.

    score(y | x) = sum_t log p(y_t | x, y_<t) + weight * log p_lm(y_t | y_<t)

(Gülçehre et al. 2015, "On using monolingual corpora in neural machine translation", section 4.1.)
The sum is no log-probability: it is not normalized over the vocabulary. Like one it is never
positive and only falls, which is all that search needs.

Dimension letters: B sentences, N rows, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from s2s.data.features.lookup import FeatureRows
from s2s.nn.batch import Regions
from s2s.nn.step import Step
from s2s.search.ensemble import Bundles, forcible
from s2s.search.forced_decoding import Ids, forced
from s2s.search.scorer import Scorer
from s2s.search.topk import digest


@dataclass(frozen=True)
class Fused:
    """Predicts log p(y | x) + weight * log p_lm(y) at every step; attention is the model's.

    Both predict the same tokens. The language model starts every sentence from its first state.
    """

    model: Scorer[Any, Any]
    """Reads the source: a model, or an ensemble."""
    lm: Scorer[Any, Any]
    """Reads the number of sources alone."""
    weight: float

    def __post_init__(self) -> None:
        assert self.model.vocabulary == self.lm.vocabulary, "one target tokenizer"
        assert self.weight > 0.0, "without a weight there is nothing to add"

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.model.vocabulary

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()) -> Bundles:
        """The model's memory of B sentences, and the language model's, which is empty."""
        more = (features,) if features else ()
        own = self.model.encode(source, lengths, *more)
        return Bundles((own, self.lm.encode(source, lengths)))

    def start(self, memory: Bundles) -> Bundles:
        """Both states before the first token."""
        own, other = memory.members
        return Bundles((self.model.start(own), self.lm.start(other)))

    def step(self, memory: Bundles, state: Bundles, tokens: Tensor) -> Step[Bundles]:
        """Read `tokens` int64 [N]; logits minus their normalizer are the weighted sum."""
        found = self.model.step(memory.members[0], state.members[0], tokens)
        other = self.lm.step(memory.members[1], state.members[1], tokens)
        normalizer_N = _normalizer(found) + _normalizer(other) * self.weight
        # Two roundings, never one: a fused multiplication and addition is not the same for the last
        # elements of a tensor.
        logits_NV = other.logits.mul_(self.weight).add_(found.logits)
        states = Bundles((found.state, other.state))
        return Step(logits_NV, states, found.attention, normalizer_N)


def _normalizer(step: Step[Any]) -> Tensor:
    """float32 [N], what the logits of a step are above log-probabilities."""
    return digest(step.logits).normalizer if step.normalizer is None else step.normalizer


def fuse(model: Scorer[Any, Any], lm: Scorer[Any, Any], weight: float) -> Scorer[Any, Any]:
    """Both as one scorer; with a weight of 0 the model as it is."""
    return Fused(model, lm, weight) if weight else model


def without_lm(scorer: Scorer[Any, Any]) -> Scorer[Any, Any]:
    """The model of a fused scorer; any other is itself."""
    return scorer.model if isinstance(scorer, Fused) else scorer


def forced_scores(
    scorer: Scorer[Any, Any],
    pairs: Sequence[tuple[Ids, Ids]],
    device: str,
    features: FeatureRows | None = None,
) -> list[float]:
    """`forced` of a scorer: log-probabilities, or with a language model the weighted sums."""
    if not isinstance(scorer, Fused):
        return forced(forcible(scorer), pairs, device, features)
    own = forced(forcible(scorer.model), pairs, device, features)
    others = forced(forcible(scorer.lm), pairs, device, features)
    return [one + scorer.weight * other for one, other in zip(own, others, strict=True)]
