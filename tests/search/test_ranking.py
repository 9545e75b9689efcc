"""How hypotheses rank: length normalization, coverage, and stopping early all the same."""

import numpy as np
import pytest
import torch

from s2s.errors import UsageError
from s2s.nn.step import Step
from s2s.recipe.search import BeamSearch
from s2s.search.loop import search
from s2s.search.strategies.beam import Beam
from tests.search.strategies.test_sampling import sentences
from tests.search.toys import Numbers, RecurrentToy, TiedToy, brute_force


class Looking(RecurrentToy):
    """Attends to a place that depends on the token."""

    def step(self, memory: Numbers, state: Numbers, tokens: torch.Tensor) -> Step[Numbers]:
        step = super().step(memory, state, tokens)
        distance_NS = (tokens.unsqueeze(1) % 8 - torch.arange(16)).abs()
        return Step(step.logits, step.state, (-distance_NS.float()).softmax(-1))


def beam(width: int, penalty: float, coverage: float, limit: int = 4) -> BeamSearch:
    return BeamSearch(
        kind="beam",
        width=width,
        length_penalty=penalty,
        length_normalization="gnmt",
        coverage_penalty=coverage,
        max_ratio=1e-9,
        max_offset=limit,
    )


def uncovered(attention: np.ndarray) -> float:
    return float(-np.log(np.minimum(attention[:, :-1].astype(np.float64).sum(0), 1.0)).sum())


@pytest.mark.parametrize("coverage", [0.0, 0.3])
def test_scores_are_the_published_formula(coverage: float) -> None:
    scorer = Looking(20, 4)
    sources = [s for s in sentences(60, 4, 15) if len(s) > 7]
    settings = beam(4, 0.7, coverage, limit=12)
    found = search(scorer, sources, settings, "cpu", keep=4, want_attention=True)
    for hypotheses in found:
        ranks = [(h.finished, h.score) for h in hypotheses]
        assert ranks == sorted(ranks, reverse=True)
        for h in hypotheses:
            assert h.attention is not None
            normalized = h.log_prob / ((5 + h.length) / 6) ** 0.7
            expected = normalized - coverage * uncovered(h.attention)
            assert h.score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_gnmt_normalization_finds_what_enumeration_ranks_first(penalty: float) -> None:
    scorer = RecurrentToy(6, 3, sharpness=3.0)
    every = [f for f in brute_force(scorer, [5, 9], beam(1, 0.0, 0.0)) if f[3]]
    best = max(every, key=lambda f: f[2] / ((5 + len(f[1]) + 1) / 6) ** penalty)
    (found,) = search(scorer, [[5, 9]], beam(6**4, penalty, 0.0), "cpu")[0]
    assert found.tokens == best[1]


def test_stopping_early_stays_safe() -> None:
    strategy = Beam(width=4, length_penalty=0.8, is_gnmt=True)
    draw = np.random.default_rng(3)
    totals, limits = -draw.exponential(5.0, 500), draw.integers(1, 40, 500)
    bounds = strategy.bound(totals, limits)
    for _ in range(20):
        lengths = draw.integers(1, limits + 1)
        later = totals - draw.exponential(1.0, 500)
        assert (strategy.score(later, lengths) <= bounds).all()


def test_coverage_needs_attention() -> None:
    with pytest.raises(UsageError, match="a coverage penalty needs a model with attention"):
        search(TiedToy(9), [[5]], beam(2, 1.0, 0.2), "cpu")
