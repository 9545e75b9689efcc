"""Constraints hold on every output of every strategy, and scores stay the model's own."""

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from s2s.errors import UsageError
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.recipe.search_overrides import override
from s2s.search.bucketing import longest_output
from s2s.search.constraints.logits import LiveTokens, constrained, shortest_output
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import UNCONSTRAINED, ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD, UNK
from tests.search.toys import RecurrentToy, TiedToy, log_probs, rescored

LENGTHS: dict[str, Any] = {"max_ratio": 1.5, "max_offset": 3}
STRATEGIES: list[Search] = [
    GreedySearch(kind="greedy", **LENGTHS),
    BeamSearch(kind="beam", width=4, **LENGTHS),
    SampleSearch(kind="sample", samples=3, **LENGTHS),
    ExhaustiveSearch(kind="exhaustive", nodes=300, **LENGTHS),
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=[s.kind for s in STRATEGIES])


def sentences(count: int, seed: int, longest: int = 12) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def everything(
    scorer: RecurrentToy, sources: list[list[int]], settings: Search
) -> list[Hypothesis]:
    keep = settings.width if isinstance(settings, BeamSearch) else 1
    return [h for one in search(scorer, sources, settings, "cpu", keep=keep) for h in one]


def ngrams(tokens: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [tokens[i : i + size] for i in range(len(tokens) - size + 1)]


@every_strategy
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_occurs_twice(strategy: Search, size: int) -> None:
    scorer, sources = RecurrentToy(9, 2, sharpness=9.0), sentences(30, 2)
    free = everything(scorer, sources, strategy)
    assert any(len(set(ngrams(h.tokens, size))) < len(ngrams(h.tokens, size)) for h in free)
    for h in everything(scorer, sources, replace(strategy, no_repeat_ngram=size)):
        found = ngrams(h.tokens, size)
        assert len(set(found)) == len(found)
        assert h.log_prob == pytest.approx(
            rescored(scorer, sources[h.key], h.tokens, h.finished), abs=1e-4
        )


@every_strategy
def test_no_output_is_shorter_than_its_sources_least(strategy: Search) -> None:
    scorer, sources = RecurrentToy(9, 3, sharpness=9.0), sentences(30, 4)
    settings = replace(strategy, min_ratio=0.8, min_offset=2)
    free = everything(scorer, sources, strategy)
    assert any(len(h.tokens) < shortest_output(len(sources[h.key]), settings) for h in free)
    for h in everything(scorer, sources, settings):
        assert len(h.tokens) >= shortest_output(len(sources[h.key]), settings)
        expected = rescored(scorer, sources[h.key], h.tokens, h.finished)
        assert h.log_prob == pytest.approx(expected, abs=1e-4)


def test_the_least_length_leaves_room_to_end() -> None:
    settings = replace(STRATEGIES[0], min_offset=1000)
    for length in (1, 2, 30):
        assert shortest_output(length, settings) == longest_output(length, settings) - 1
    (h,) = search(TiedToy(8), [[5, 6]], settings, "cpu")[0]
    assert (len(h.tokens), h.finished) == (longest_output(2, settings) - 1, True)


def test_exhaustive_search_is_enumeration_under_constraints() -> None:
    scorer = RecurrentToy(7, 5, sharpness=3.0)
    settings = ExhaustiveSearch(
        kind="exhaustive", max_ratio=1e-9, max_offset=5, min_offset=2, no_repeat_ngram=1
    )
    outputs = [t for n in (2, 3, 4) for t in itertools.permutations((1, 4, 5, 6), n)]
    best = max(outputs, key=lambda tokens: rescored(scorer, [5], tokens, True))
    (h,) = search(scorer, [[5]], settings, "cpu")[0]
    assert (h.tokens, h.proven) == (best, True)


def test_the_repetition_penalty_is_as_defined_and_no_part_of_the_score() -> None:
    scorer, sources = RecurrentToy(12, 6, sharpness=9.0), sentences(20, 6)
    settings = replace(STRATEGIES[0], repetition_penalty=1.7)
    changed = 0
    for source, (h,) in zip(sources, search(scorer, sources, settings, "cpu"), strict=True):
        tokens: tuple[int, ...] = ()
        while len(tokens) < longest_output(len(source), settings):
            following = log_probs(scorer, source, tokens)
            ranked = {v: 1.7 * p if v in tokens else p for v, p in enumerate(following)}
            best = max(ranked, key=lambda v: (ranked[v], v == EOS, -v))
            if best == EOS:
                break
            tokens = (*tokens, best)
        assert h.tokens == tokens
        assert h.log_prob == pytest.approx(rescored(scorer, source, tokens, h.finished), abs=1e-4)
        changed += tokens != search(scorer, [source], STRATEGIES[0], "cpu")[0][0].tokens
    assert changed > 0


def test_where_nothing_is_left_the_output_ends() -> None:
    settings = replace(STRATEGIES[0], no_repeat_ngram=1, min_offset=1000, max_offset=20)
    (h,) = search(TiedToy(7), [[5]], settings, "cpu")[0]
    assert (h.tokens, h.finished) == ((1, 4, 5, 6), True)


def test_ngrams_of_a_past_are_those_a_plain_loop_finds() -> None:
    draw = random.Random(3)
    for _ in range(50):
        size, length = draw.randint(1, 4), draw.randint(0, 9)
        tokens = [draw.randrange(4, 7) for _ in range(length)]
        padded = torch.tensor([[[*tokens, *[PAD] * (9 - length)]]])
        live_tokens = LiveTokens(padded, torch.tensor([length]), torch.tensor([0]))
        settings = replace(STRATEGIES[0], no_repeat_ngram=size)
        logits = torch.zeros(1, 1, 8)
        logits[..., [PAD, BOS]] = -math.inf
        banned = {v for v in range(4, 8) if (*tokens, v)[-size:] in ngrams(tuple(tokens), size)}
        found = (
            (constrained(logits, logits.logsumexp(-1), live_tokens, settings)[0, 0] == -math.inf)
            .nonzero()
            .flatten()
        )
        assert set(found.tolist()) - {PAD, BOS} == banned


@every_strategy
def test_company_number_and_order_change_nothing(strategy: Search) -> None:
    scorer, sources = RecurrentToy(20, 11), sentences(40, 2)
    settings = replace(strategy, no_repeat_ngram=2, min_ratio=0.5)
    order = random.Random(1).sample(range(len(sources)), 25)
    together = search(scorer, sources, settings, "cpu")
    mixed = search(scorer, [sources[i] for i in order], settings, "cpu", places=order)
    alone = [search(scorer, [sources[i]], settings, "cpu", places=[i])[0] for i in order[:8]]
    for i, found in [*zip(order, mixed, strict=True), *zip(order[:8], alone, strict=True)]:
        assert [(h.tokens, h.log_prob) for h in found] == [
            (h.tokens, h.log_prob) for h in together[i]
        ]


def test_exhaustive_search_has_no_repetition_penalty() -> None:
    choices = {"kind": "exhaustive", "repetition_penalty": 1.5}
    with pytest.raises(UsageError, match=r"^repetition_penalty has no effect on exhaustive search"):
        override(STRATEGIES[0], choices)
    assert override(STRATEGIES[1], {"no_repeat_ngram": 3}) == replace(
        STRATEGIES[1], no_repeat_ngram=3
    )


@every_strategy
def test_no_output_has_an_unknown_token(strategy: Search) -> None:
    scorer, sources = RecurrentToy(9, 1, sharpness=9.0), sentences(30, 3)
    settings = replace(strategy, suppress_unknown=True)
    assert any(UNK in h.tokens for h in everything(scorer, sources, strategy))
    for h in everything(scorer, sources, settings):
        assert UNK not in h.tokens
        expected = rescored(scorer, sources[h.key], h.tokens, h.finished)
        assert h.log_prob == pytest.approx(expected, abs=1e-4)  # not renormalized


@pytest.mark.parametrize("size", [None, 1], ids=["unlimited", "no_repeat"])
def test_the_most_probable_output_without_unknown_tokens_is_found(size: int | None) -> None:
    scorer = RecurrentToy(7, 17, sharpness=3.0)
    settings = ExhaustiveSearch(
        kind="exhaustive",
        max_ratio=1e-9,
        max_offset=4,
        no_repeat_ngram=size,
        suppress_unknown=True,
    )
    (free,) = search(scorer, [[5]], replace(settings, suppress_unknown=False), "cpu")[0]
    assert UNK in free.tokens
    outputs = [t for n in range(4) for t in itertools.product((4, 5, 6), repeat=n)]
    outputs = [t for t in outputs if size is None or len(set(t)) == len(t)]
    best = max(outputs, key=lambda tokens: rescored(scorer, [5], tokens, True))
    (h,) = search(scorer, [[5]], settings, "cpu")[0]
    assert (h.tokens, h.proven) == (best, True)


@every_strategy
@pytest.mark.parametrize("size", [None, 2], ids=["unlimited", "no_repeat"])
def test_a_prefix_keeps_its_unknown_token(strategy: Search, size: int | None) -> None:
    settings = replace(strategy, suppress_unknown=True, no_repeat_ngram=size)
    spec = ConstraintSpec((PrefixConstraint((5, UNK)),))
    found = search(
        RecurrentToy(9, 8, sharpness=9.0), [[5, 6, 7]], settings, "cpu", constraints=[spec]
    )
    for h in found[0]:
        assert h.tokens[:2] == (5, UNK)
        assert UNK not in h.tokens[2:]


@every_strategy
def test_without_unknown_tokens_company_changes_nothing_and_scores_are_the_same(
    strategy: Search,
) -> None:
    scorer, sources = RecurrentToy(20, 11), sentences(30, 5)
    settings = replace(strategy, suppress_unknown=True)
    together = search(scorer, sources, settings, "cpu")
    specs = [UNCONSTRAINED, ConstraintSpec((PrefixConstraint((5,)),))] * 15
    mixed = search(scorer, sources, settings, "cpu", constraints=specs)
    for i in range(0, 30, 2):
        alone = search(scorer, [sources[i]], settings, "cpu", places=[i])[0]
        for found in (alone, mixed[i]):
            assert [(h.tokens, h.log_prob) for h in found] == [
                (h.tokens, h.log_prob) for h in together[i]
            ]
