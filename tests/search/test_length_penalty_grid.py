"""Several length penalties out of one beam search: what each search of its own would give."""

import random
from typing import Any

import pytest

from s2s.recipe.search import BeamSearch
from s2s.search.length_penalty_grid import num_searches, search_penalties
from s2s.search.loop import search, search_stream
from s2s.search.strategies.build import build_complete
from tests.search.toys import AnyScorer, RecurrentToy, TiedToy

PENALTIES = (0.0, 0.3, 0.6, 1.0, 1.4, 3.0)


def grid(widths: tuple[int, ...], **others: Any) -> list[BeamSearch]:
    limits = {"max_ratio": 1.0, "max_offset": 3, **others}
    return [
        BeamSearch(kind="beam", width=width, length_penalty=penalty, **limits)
        for width in widths
        for penalty in PENALTIES
    ]


def sentences(count: int) -> list[list[int]]:
    draw = random.Random(7)
    found = [[draw.randrange(4, 60) for _ in range(draw.randint(1, 20))] for _ in range(count)]
    return [*found, [], [4]]


GRIDS = {
    "plain": grid((1, 2, 5, 9)),
    "gnmt": grid((4,), length_normalization="gnmt") + grid((4,)),
    "constrained": grid((3, 5), no_repeat_ngram=1, min_offset=2, repetition_penalty=1.5),
    "always cut": grid((3,), max_ratio=0.05, max_offset=1),
    "coverage": grid((3,), coverage_penalty=0.4),
}


@pytest.mark.parametrize("settings", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize(
    "scorer",
    [RecurrentToy(23, 1), RecurrentToy(6, 1, sharpness=2.0), TiedToy(7)],
    ids=["wide", "narrow", "tied"],
)
def test_each_is_what_its_own_search_gives(scorer: AnyScorer, settings: list[BeamSearch]) -> None:
    if isinstance(scorer, TiedToy) and settings[0].coverage_penalty:
        pytest.skip("it has no attention")
    sources = sentences(60)
    found = search_penalties(scorer, sources, settings, "cpu")
    for one, best in zip(settings, found, strict=True):
        expected = [hypotheses[0] for hypotheses in search(scorer, sources, one, "cpu")]
        assert best == expected, one  # key, tokens, log-probability, score, finished


def test_the_penalties_make_a_difference_and_more_end_than_the_beam_is_wide() -> None:
    """Or the test above would have nothing to find."""
    scorer, sources, settings = RecurrentToy(6, 1, sharpness=2.0), sentences(60), grid((5,))
    found = search_penalties(scorer, sources, settings, "cpu")
    assert len({tuple(h.tokens for h in best) for best in found}) > 3
    strategy = build_complete(settings[0])
    stream = search_stream(scorer, sources, settings[0], "cpu", strategy=strategy)
    ended = [sum(h.finished for h in hypotheses) for _, hypotheses in stream]
    assert sum(count > 5 for count in ended) > 10 and max(ended) < strategy.keep


@pytest.mark.parametrize(
    ("name", "count"),
    [("plain", 4), ("gnmt", 1), ("constrained", 2), ("coverage", len(PENALTIES))],
)
def test_only_what_differs_in_the_penalty_alone_shares_a_search(name: str, count: int) -> None:
    assert num_searches(GRIDS[name]) == count
    scorer, told = RecurrentToy(23, 1), []
    sources = sentences(5)
    search_penalties(
        scorer, sources, GRIDS[name], "cpu", progress=lambda one, done: told.append((one, done))
    )
    assert len({one for one, _ in told}) == count
    assert [done for _, done in told] == list(range(1, len(sources) + 1)) * count
