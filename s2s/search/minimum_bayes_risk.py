"""Minimum Bayes risk decoding: the candidate with the highest expected utility.

    argmax_y Σ_z w(z) u(y, z)    over candidates y, which are also the references z

The candidates stand for the model's distribution (Kumar & Byrne 2004, "Minimum Bayes-Risk Decoding
for Statistical Machine Translation"; of samples, Eikema & Aziz 2020, "Is MAP Decoding All You
Need?", section 5; 2022, "Sampling-Based Approximations to Minimum Bayes Risk Decoding").

Dimension letters: N different texts among the candidates of a source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.metrics.pairwise import build_utility
from s2s.recipe.choices import CandidateWeighting
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import MbrSearch, Search
from s2s.search.hypothesis import Hypothesis
from s2s.search.ranking import Texts, ordered
from s2s.search.strategies.build import candidate_searches, most_outputs


class _Merged(NamedTuple):
    """The different texts of the candidates of a source, in the order in which they were found."""

    texts: list[str]
    hypotheses: list[Hypothesis]
    """The most probable of each text; of equal ones the first."""
    weights_N: NDArray[np.float64]
    """They sum to 1."""


@dataclass(frozen=True)
class MinimumBayesRisk:
    """The ranking of candidates by expected utility; see `s2s.search.ranking.Ranking`.

    A hypothesis gets its expected utility, in per cent, as its score. Of equal ones the more
    probable hypothesis ranks first, then the one found first. Candidates of equal text are one.
    """

    settings: MbrSearch
    scoring: Scoring
    """How utilities read text."""
    texts: Texts

    @cached_property
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
        """See `Ranking`. Raises UsageError for a tokenization without its package."""
        utility = build_utility(self.settings.utility, self.scoring)
        merged = [
            merge(*pair, self.settings.weighting)
            for pair in zip(self.texts(indices, candidates), candidates, strict=True)
        ]
        utilities = utility([one.texts for one in merged])
        return [
            ordered(one.hypotheses, values_NN @ one.weights_N)
            for one, values_NN in zip(merged, utilities, strict=True)
        ]


def merge(
    texts: Sequence[str], hypotheses: Sequence[Hypothesis], weighting: CandidateWeighting
) -> _Merged:
    """The different texts of candidates, with the weights that they have as references.

    A text's probability is the sum over its different token sequences.
    """
    places: dict[str, int] = {}
    best: list[Hypothesis] = []
    counts: list[int] = []
    log_probs: dict[tuple[int, tuple[int, ...], bool], float] = {}
    for text, hypothesis in zip(texts, hypotheses, strict=True):
        place = places.setdefault(text, len(places))
        if place == len(best):
            best.append(hypothesis)
            counts.append(0)
        elif hypothesis.log_prob > best[place].log_prob:
            best[place] = hypothesis
        counts[place] += 1
        log_probs[place, hypothesis.tokens, hypothesis.finished] = hypothesis.log_prob
    weights_N = np.array(counts, dtype=np.float64)
    if weighting == "probability":
        values = np.array(list(log_probs.values()))
        owners = [place for place, _, _ in log_probs]
        weights_N = np.bincount(owners, np.exp(values - values.max())).astype(np.float64)
    return _Merged(list(places), best, weights_N / weights_N.sum())
