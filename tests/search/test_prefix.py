"""Prefix constraints: outputs begin with them and continue as search continues them."""

import random
from typing import Any

import pytest

from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.search.bucketing import longest_output
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from tests.search.toys import RecurrentToy, brute_force, plain_beam, rescored, spec_of

LENGTHS: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 3}
STRATEGIES: list[Search] = [
    GreedySearch(kind="greedy", **LENGTHS),
    BeamSearch(kind="beam", width=4, **LENGTHS),
    SampleSearch(kind="sample", samples=3, **LENGTHS),
    ExhaustiveSearch(kind="exhaustive", nodes=200, **LENGTHS),
    BeamSearch(kind="beam", width=3, no_repeat_ngram=2, min_offset=2, **LENGTHS),
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.kind)


def sentences(count: int, seed: int, longest: int = 9) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def prefixes(count: int, seed: int, vocabulary: int, longest: int = 4) -> list[ConstraintSpec]:
    draw = random.Random(seed)
    lengths = [draw.randint(0, longest) for _ in range(count)]
    return [spec_of(prefix=tuple(draw.choices(range(4, vocabulary), k=n))) for n in lengths]


def facts(found: list[list[Hypothesis]]) -> list[list[tuple[tuple[int, ...], float, float, bool]]]:
    return [[(h.tokens, h.log_prob, h.score, h.finished) for h in one] for one in found]


@every_strategy
def test_outputs_begin_with_their_prefix_at_the_models_own_price(strategy: Search) -> None:
    scorer, sources, constraints = RecurrentToy(11, 1), sentences(16, 1), prefixes(16, 1, 11)
    found = search(scorer, sources, strategy, "cpu", constraints=constraints)
    for source, constraint, one in zip(sources, constraints, found, strict=True):
        for h in one:
            limit = longest_output(len(source), strategy)
            assert h.tokens[: len(constraint.tokens)] == constraint.tokens[:limit]
            expected = rescored(scorer, source, h.tokens, h.finished)
            assert h.log_prob == pytest.approx(expected, abs=1e-4)


@every_strategy
def test_batch_and_order_change_nothing_for_sentences_with_or_without_prefix(
    strategy: Search,
) -> None:
    scorer, sources, constraints = RecurrentToy(11, 2), sentences(24, 2), prefixes(24, 2, 11)
    places = range(24)
    together = facts(search(scorer, sources, strategy, "cpu", constraints=constraints))
    order = random.Random(3).sample(places, 17)
    mixed = search(
        scorer,
        [sources[i] for i in order],
        strategy,
        "cpu",
        constraints=[constraints[i] for i in order],
        places=order,
    )
    assert facts(mixed) == [together[i] for i in order]
    free = facts(search(scorer, sources, strategy, "cpu"))
    assert (
        facts(search(scorer, sources, strategy, "cpu", constraints=[ConstraintSpec()] * 24)) == free
    )
    for place, constraint in enumerate(constraints):
        if not constraint.tokens:
            assert together[place] == free[place]


def test_a_beam_after_a_prefix_is_a_plain_beam_that_starts_there() -> None:
    scorer, settings = RecurrentToy(40, 5), BeamSearch(kind="beam", width=3, **LENGTHS)
    sources, constraints = sentences(8, 5), prefixes(8, 5, 40, longest=3)
    found = search(scorer, sources, settings, "cpu", keep=3, constraints=constraints)
    for source, constraint, one in zip(sources, constraints, found, strict=True):
        expected = plain_beam(scorer, source, settings, constraint.tokens)
        assert [h.tokens for h in one] == [e[1] for e in expected[: len(one)]]


def test_exhaustive_search_finds_the_most_probable_output_with_the_prefix() -> None:
    lengths: dict[str, Any] = {"max_ratio": 1e-9, "max_offset": 4}
    enumerated = BeamSearch(kind="beam", length_penalty=0.0, **lengths)
    settings = ExhaustiveSearch(kind="exhaustive", width=1, **lengths)
    for seed in range(4):
        scorer = RecurrentToy(6, seed, sharpness=3.0)
        (constraint,) = prefixes(1, seed, 6, longest=2)
        everything = brute_force(scorer, [7], enumerated)
        best = next(f for f in everything if f[1][: len(constraint.tokens)] == constraint.tokens)
        (found,) = search(scorer, [[7]], settings, "cpu", constraints=[constraint])[0]
        assert (found.tokens, found.proven) == (best[1], True)


@pytest.mark.parametrize("strategy", STRATEGIES[:4], ids=lambda s: s.kind)
def test_a_prefix_longer_than_the_longest_output_is_cut(strategy: Search) -> None:
    (found, *_) = search(
        RecurrentToy(9, 1), [[5]], strategy, "cpu", constraints=[spec_of(prefix=(7, 8) * 9)]
    )[0]
    assert (found.tokens, found.finished) == ((7, 8, 7, 8), False)
