"""Samples: drawn from the distribution they claim, each by itself."""

import itertools
import math
import random
from collections import Counter
from typing import Any

import pytest
import torch

from s2s.errors import S2sError, UsageError
from s2s.recipe.search import GreedySearch, SampleSearch
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.search.randomness import uniforms
from s2s.search.strategies.base import StepContext
from s2s.search.strategies.sampling import Sample
from s2s.special import BOS, EOS, PAD
from tests.search.toys import RecurrentToy, TiedToy, log_probs, rescored

GREEDY = GreedySearch(kind="greedy", max_ratio=1.5, max_offset=3)


def sampling(**choices: Any) -> SampleSearch:
    return SampleSearch(**{"kind": "sample", "max_ratio": 1.5, "max_offset": 3, **choices})


def sentences(count: int, seed: int, longest: int = 30) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def facts(found: list[list[Hypothesis]]) -> list[list[tuple[tuple[int, ...], float, bool]]]:
    return [[(h.tokens, h.log_prob, h.finished) for h in one] for one in found]


def most_variation(outcomes: int, draws: int) -> float:
    """A total variation that is exceeded with probability below 1e-9.

    The mean is at most sqrt(outcomes / draws) / 2 (Jensen); as one draw moves it by 1 / draws at
    most, it is exceeded by t with probability exp(-2 draws t^2) at most (McDiarmid).
    """
    return math.sqrt(outcomes / draws) / 2 + math.sqrt(math.log(1e9) / (2 * draws))


def variation(counts: Counter[Any], exact: dict[Any, float]) -> float:
    assert sum(exact.values()) == pytest.approx(1.0)
    assert counts.keys() <= {outcome for outcome, p in exact.items() if p > 0}
    draws = counts.total()
    return sum(abs(counts[outcome] / draws - p) for outcome, p in exact.items()) / 2


def test_random_numbers_are_uniform_and_each_is_its_own() -> None:
    count = 1 << 16
    places, zero = torch.arange(count), torch.tensor(0)
    for coordinates in ((places, zero), (zero, places), (places << 20, zero)):
        values = uniforms(7, *coordinates)
        assert ((values >= 0) & (values < 1)).all()
        bins = torch.histc(values, 256, 0.0, 1.0)
        chi_squared = ((bins - count / 256) ** 2 / (count / 256)).sum().item()
        assert abs(chi_squared - 255) < 5 * math.sqrt(2 * 255)
        lagged = torch.corrcoef(torch.stack((values[1:], values[:-1])))[0, 1].item()
        assert abs(lagged) < 5 / math.sqrt(count)
        assert values.unique().numel() == count
    assert (uniforms(1, places) != uniforms(2, places)).all()
    assert torch.equal(uniforms(3, places[5:9], zero), uniforms(3, places, zero)[5:9])


def test_outputs_are_as_frequent_as_they_are_probable() -> None:
    scorer = RecurrentToy(6, 2, sharpness=2.0)
    settings = sampling(samples=50, max_ratio=1e-9, max_offset=3)
    found = [h for one in search(scorer, [[5]] * 400, settings, "cpu") for h in one]
    exact = {}
    for length in range(4):
        for tokens in itertools.product((1, 4, 5), repeat=length):
            wanted = (*tokens, EOS) if length < 3 else tokens
            exact[wanted] = math.prod(
                probabilities(log_probs(scorer, [5], wanted[:i]))[token]
                for i, token in enumerate(wanted)
            )
    counts = Counter((*h.tokens, EOS) if h.finished else h.tokens for h in found)
    assert variation(counts, exact) < most_variation(len(exact), len(found))


def probabilities(logits: list[float]) -> list[float]:
    """Softmax; the toys give PAD and BOS probabilities, which are never drawn."""
    return torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 4},
        {"top_k": 1000},
        {"top_p": 0.7},
        {"top_p": 1e-9},
        {"min_p": 0.2},
        {"temperature": 1.5, "top_k": 9, "top_p": 0.8, "min_p": 0.1},
    ],
)
def test_truncated_distributions_are_as_defined(choices: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(4)
    logits_V = torch.randn(13, generator=generator) * 1.5
    logits_V[[PAD, BOS]] = -torch.inf
    logits_V[9] = logits_V[4]  # a tie
    logits_BKV = logits_V.repeat(40, 500, 1)
    context = StepContext(torch.arange(40), torch.full((40,), 3), torch.zeros(40, 1))
    settings = sampling(samples=500, **choices)
    choice = Sample(settings).choose(logits_BKV, torch.zeros(40, 500, dtype=torch.float64), context)
    exact = truncated(logits_V.double().tolist(), settings)
    counts = Counter(choice.tokens.flatten().tolist())
    assert variation(counts, exact) < most_variation(13, 40 * 500)
    assert counts.keys() >= {token for token, p in exact.items() if p > 2e-3}
    assert ((choice.ended > -torch.inf) == (choice.tokens == EOS)).all()


def truncated(logits: list[float], settings: SampleSearch) -> dict[int, float]:
    """The definition, a token at a time."""
    weights = {v: math.exp(logit / settings.temperature) for v, logit in enumerate(logits)}
    ranked = sorted(weights, key=lambda v: (-weights[v], v))[: settings.top_k]
    total = sum(weights[v] for v in ranked)
    kept: list[int] = []
    for token in ranked:
        if sum(weights[v] for v in kept) < settings.top_p * total or settings.top_p == 1.0:
            kept.append(token)
    kept = [v for v in kept if weights[v] >= settings.min_p * weights[kept[0]]]
    mass = sum(weights[v] for v in kept)
    return {v: weights[v] / mass if v in kept else 0.0 for v in weights}


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-6])
def test_without_temperature_it_is_greedy_search(temperature: float) -> None:
    scorer, sources = RecurrentToy(23, 1), sentences(50, 1)
    greedy = facts(search(scorer, sources, GREEDY, "cpu"))
    assert facts(search(scorer, sources, sampling(temperature=temperature), "cpu")) == greedy
    three = search(scorer, sources, sampling(temperature=temperature, samples=3), "cpu")
    for (one,), drawn in zip(greedy, three, strict=True):
        assert [(h.tokens, h.finished) for h in drawn] == [(one[0], one[2])] * 3


def test_greedy_ties_are_those_of_greedy_search() -> None:
    (ended,) = search(TiedToy(8), [[5]], sampling(temperature=0.0), "cpu")[0]
    assert (ended.tokens, ended.finished) == ((), True)


@pytest.mark.parametrize("choices", [{}, {"samples": 5}, {"samples": 2, "top_p": 0.9, "top_k": 9}])
def test_company_number_and_order_change_nothing(choices: dict[str, Any]) -> None:
    scorer, sources = RecurrentToy(40, 11), sentences(150, 2)
    settings = sampling(**choices)
    together = facts(search(scorer, sources, settings, "cpu"))
    for index in range(0, len(sources), 13):
        alone = search(scorer, [sources[index]], settings, "cpu", places=[index])
        assert facts(alone) == [together[index]]
    for seed in range(2):
        order = random.Random(seed).sample(range(len(sources)), len(sources) * (1 + seed) // 2)
        mixed = search(scorer, [sources[i] for i in order], settings, "cpu", places=order)
        assert facts(mixed) == [together[i] for i in order]


def test_places_samples_and_seeds_differ_and_more_samples_keep_the_first() -> None:
    scorer, sources = RecurrentToy(40, 3, sharpness=1.0), [[5, 6, 7]] * 20
    five = search(scorer, sources, sampling(samples=5), "cpu")
    assert len({h.tokens for one in five for h in one}) > 80
    two = search(scorer, sources, sampling(samples=2), "cpu")
    assert [[h.tokens for h in one[:2]] for one in five] == [[h.tokens for h in one] for one in two]
    other = search(scorer, sources, sampling(samples=2, seed=2), "cpu")
    assert all(a[0].tokens != b[0].tokens for a, b in zip(two, other, strict=True))


def test_log_probabilities_are_the_models_whatever_was_left_out() -> None:
    scorer, sources = RecurrentToy(30, 8), sentences(8, 8)
    settings = sampling(samples=3, temperature=3.0, top_k=20, min_p=0.01)
    for source, found in zip(sources, search(scorer, sources, settings, "cpu"), strict=True):
        for h in found:
            expected = rescored(scorer, source, h.tokens, h.finished)
            assert h.log_prob == h.score == pytest.approx(expected, abs=1e-4)


def test_more_outputs_than_samples_are_refused_and_nan_is_reported() -> None:
    scorer = RecurrentToy(9, 1)
    with pytest.raises(UsageError, match="the 3 best outputs need"):
        search(scorer, [[5]], sampling(samples=2), "cpu", keep=3)
    scorer.output_DV[:] = math.nan
    for settings in (sampling(), sampling(top_p=0.5, samples=2)):
        with pytest.raises(S2sError, match="predicts NaN"):
            search(scorer, [[5]], settings, "cpu")
