"""Exhaustive search against enumeration, and what it says when it does not get to the end."""

import random

import pytest

from s2s.errors import UsageError
from s2s.recipe.model import Model
from s2s.recipe.search import BeamSearch, ExhaustiveSearch
from s2s.search.ensemble import ensemble
from s2s.search.loop import search
from tests.nn.test_model import HARD, build, name
from tests.search.toys import RecurrentToy, TiedToy, brute_force, rescored


def exhaustive(
    nodes: int = 100_000, ratio: float = 0.5, offset: int = 2, width: int = 1
) -> ExhaustiveSearch:
    return ExhaustiveSearch(
        kind="exhaustive", nodes=nodes, width=width, max_ratio=ratio, max_offset=offset
    )


def raw_beam(width: int, ratio: float = 0.5, offset: int = 2) -> BeamSearch:
    return BeamSearch(
        kind="beam", width=width, length_penalty=0.0, max_ratio=ratio, max_offset=offset
    )


def sentences(count: int, seed: int, longest: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keep", [1, 3])
def test_it_finds_what_enumeration_and_a_complete_beam_find(seed: int, keep: int) -> None:
    scorer = RecurrentToy(6, seed, sharpness=3.0)
    for source in sentences(3, seed, longest=4):
        expected = [f for f in brute_force(scorer, source, raw_beam(1)) if f[3]][:keep]
        found = search(scorer, [source], exhaustive(), "cpu", keep=keep)[0]
        assert [h.tokens for h in found] == [e[1] for e in expected]
        assert [h.log_prob for h in found] == pytest.approx([e[2] for e in expected], abs=1e-5)
        assert all(h.proven and h.finished and h.score == h.log_prob for h in found)
        (widest,) = search(scorer, [source], raw_beam(6**4), "cpu")[0]
        assert widest.tokens == found[0].tokens


@pytest.mark.parametrize("recipe", HARD, ids=name)
def test_it_finds_what_enumeration_finds_with_hard_attention(recipe: Model) -> None:
    """Also of an ensemble, whose members carry their alignments on, each its own."""
    model = build(recipe)
    both = ensemble([model, build(HARD[0])])
    for scorer in (model, both):
        for source in ([4, 9], [7]):
            expected = [f for f in brute_force(scorer, source, raw_beam(1, offset=1)) if f[3]][:2]
            found = search(scorer, [source], exhaustive(offset=1), "cpu", keep=2)[0]
            assert [h.tokens for h in found] == [e[1] for e in expected]
            assert [h.log_prob for h in found] == pytest.approx([e[2] for e in expected], abs=1e-4)
            assert all(h.proven for h in found)


def test_larger_trees_are_searched_to_the_end_and_beams_make_errors_there() -> None:
    scorer, sources = RecurrentToy(40, 3, sharpness=9.0), sentences(12, 3, longest=8)
    best = search(scorer, sources, exhaustive(ratio=1.0, offset=4), "cpu")
    greedy = search(scorer, sources, raw_beam(1, ratio=1.0, offset=4), "cpu")
    is_better = 0
    for source, (h,), (g,) in zip(sources, best, greedy, strict=True):
        assert h.proven
        assert h.log_prob == pytest.approx(rescored(scorer, source, h.tokens, True), abs=1e-4)
        assert not g.finished or h.log_prob >= g.log_prob - 1e-5
        is_better += h.tokens != g.tokens
    assert is_better > 0


@pytest.mark.parametrize("nodes", [1, 2, 65])
def test_out_of_nodes_it_says_so_and_is_no_worse_than_the_beam(nodes: int) -> None:
    scorer, sources = RecurrentToy(40, 5, sharpness=2.0), sentences(12, 5, longest=8)
    settings = exhaustive(nodes, ratio=1.0, offset=4, width=5)
    found = search(scorer, sources, settings, "cpu", keep=2)
    beams = search(scorer, sources, raw_beam(5, ratio=1.0, offset=4), "cpu", keep=2)
    assert any(one[0].proven is False for one in found)
    for ours, theirs in zip(found, beams, strict=True):
        for h, b in zip(ours, theirs, strict=True):
            assert not b.finished or h.log_prob >= b.log_prob


def test_company_and_order_change_nothing() -> None:
    scorer, sources = RecurrentToy(20, 7, sharpness=8.0), sentences(20, 7, longest=10)
    settings = exhaustive(500, ratio=1.0, offset=3)
    together = [one[0] for one in search(scorer, sources, settings, "cpu")]
    order = random.Random(1).sample(range(20), 15)
    mixed = search(scorer, [sources[i] for i in order], settings, "cpu")
    for i, (h,) in zip(order, mixed, strict=True):
        expected = (together[i].tokens, together[i].log_prob, together[i].proven)
        assert (h.tokens, h.log_prob, h.proven) == expected
        (alone,) = search(scorer, [sources[i]], settings, "cpu")[0]
        assert (alone.tokens, alone.log_prob, alone.proven) == expected


def test_an_output_that_ends_is_preferred_to_one_that_was_cut() -> None:
    (h,) = search(TiedToy(9, end=-8.0), [[4, 5, 6]], exhaustive(10_000), "cpu")[0]
    assert (h.finished, h.proven, h.tokens) == (True, True, ())


def test_attention_is_refused_and_blank_sources_are_certain() -> None:
    scorer = RecurrentToy(9, 1)
    with pytest.raises(UsageError, match="exhaustive search keeps no attention"):
        search(scorer, [[5]], exhaustive(), "cpu", want_attention=True)
    assert search(scorer, [[]], exhaustive(), "cpu")[0][0].tokens == ()
