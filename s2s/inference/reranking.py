"""Reranking: candidates of a beam, ranked by a weighted sum of features.

    score(y) = Σ_f w_f f(x, y)

Features are the log-probability of the output, its length in tokens, the log-probability of the
source given the output by a run that translates the other way, and that of the output under a
language model (Och et al. 2004, "A Smorgasbord of Features for Statistical Machine Translation";
of neural models, Li et al. 2016, "A Diversity-Promoting Objective Function", section 4.3).

Dimension letters: C candidates of a source, F features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2s.inference.pair_scores import score_lines
from s2s.inference.translator import LineTranslator
from s2s.recipe.search import RerankSearch, Search
from s2s.search.hypothesis import Hypothesis
from s2s.search.ranking import Ranking, Texts, ordered
from s2s.search.strategies.build import candidate_searches, most_outputs
from s2s.text.extended_vocabulary import EncodedSource


@dataclass(frozen=True)
class Reranker:
    """The weights of the features, and the models that compute them."""

    weights: Mapping[str, float]
    reverse: LineTranslator | None
    lm: LineTranslator | None

    def __call__(
        self, settings: RerankSearch, sources: Sequence[EncodedSource], texts: Texts
    ) -> Ranking:
        """The ranking of candidates of these sources."""
        return _Reranking(self, settings, [source.text for source in sources], texts)

    def features(
        self,
        source: str,
        texts: Sequence[str],
        log_probs: Sequence[float],
        lengths: Sequence[int],
    ) -> NDArray[np.float64]:
        """The features [C, F] of the outputs of a source, in the order of the weights.

        Outputs of a source are scored by themselves, so that they do not depend on other sources.
        """
        columns: dict[str, Sequence[float]] = {"log_prob": log_probs, "length": lengths}
        place = ("outputs", 0)
        if self.reverse is not None:
            pairs = [(text, source) for text in texts]
            columns["reverse"] = [one.log_prob for one in score_lines(self.reverse, pairs, place)]
        if self.lm is not None:
            pairs = [("", text) for text in texts]
            columns["lm"] = [one.log_prob for one in score_lines(self.lm, pairs, place)]
        return np.array([columns[name] for name in self.weights], dtype=np.float64).T


@dataclass(frozen=True)
class _Reranking:
    """See `s2s.search.ranking.Ranking`. Of equal scores the more probable ranks first."""

    reranker: Reranker
    settings: RerankSearch
    sources: Sequence[str]
    texts: Texts

    @property
    def searches(self) -> Sequence[Search]:
        """See `Ranking`."""
        return candidate_searches(self.settings)

    @property
    def num_candidates(self) -> int:
        """See `Ranking`."""
        return most_outputs(self.settings)

    def __call__(
        self, indices: Sequence[int], candidates: Sequence[Sequence[Hypothesis]]
    ) -> list[list[Hypothesis]]:
        """See `Ranking`."""
        weights_F = np.array(list(self.reranker.weights.values()))
        ranked = []
        for index, texts, found in zip(
            indices, self.texts(indices, candidates), candidates, strict=True
        ):
            log_probs, lengths = [h.log_prob for h in found], [h.length for h in found]
            source = self.sources[index]
            scores_C = self.reranker.features(source, texts, log_probs, lengths) @ weights_F
            ranked.append(ordered(found, scores_C))
        return ranked
