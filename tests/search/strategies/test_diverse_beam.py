"""Groups of a beam: equal without diversity, different with it, scores the model's own."""

import random
from typing import Any

import pytest

from s2s.errors import UsageError
from s2s.recipe.search import BeamSearch, Search
from s2s.recipe.search_overrides import override
from s2s.search.constraints.automaton import Spelling
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from tests.search.toys import RecurrentToy, log_probs, rescored, spec_of

Outputs = set[tuple[int, ...]]
LENGTHS: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 4}


def grouped(width: int, groups: int, diversity: float, **others: Any) -> BeamSearch:
    return BeamSearch(
        kind="beam", width=width, groups=groups, diversity=diversity, **LENGTHS, **others
    )


def sentences(count: int, seed: int, longest: int = 9) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def facts(found: list[list[Hypothesis]]) -> list[list[tuple[tuple[int, ...], float, float, bool]]]:
    return [[(h.tokens, h.log_prob, h.score, h.finished) for h in one] for one in found]


@pytest.mark.parametrize(("width", "groups"), [(6, 2), (6, 3), (4, 4)])
def test_without_diversity_groups_are_equal_beams(width: int, groups: int) -> None:
    scorer, sources = RecurrentToy(40, groups), sentences(30, 1)
    alone = search(scorer, sources, grouped(width // groups, 1, 0.0), "cpu")
    # Blocks of other shapes round differently.
    for (h,), (expected,) in zip(
        search(scorer, sources, grouped(width, groups, 0.0), "cpu"), alone, strict=True
    ):
        assert (h.tokens, h.finished) == (expected.tokens, expected.finished)
        assert h.log_prob == pytest.approx(expected.log_prob, abs=1e-5)


def test_one_group_is_the_beam() -> None:
    scorer, sources = RecurrentToy(40, 2), sentences(30, 2)
    plain = BeamSearch(kind="beam", width=5, **LENGTHS)
    found = search(scorer, sources, grouped(5, 1, 3.0), "cpu", keep=5)
    assert facts(found) == facts(search(scorer, sources, plain, "cpu", keep=5))


def one_by_one(scorer: RecurrentToy, source: list[int], groups: int, diversity: float) -> Outputs:
    """Groups of a single hypothesis as the paper has them, until all are cut or ended."""
    outputs: list[tuple[int, ...]] = [()] * groups
    is_open = [True] * groups
    for _ in range(len(source) + LENGTHS["max_offset"]):
        taken: list[int] = []
        for group in range(groups):
            if is_open[group]:
                following = log_probs(scorer, source, outputs[group])
                seen = [p - diversity * taken.count(v) for v, p in enumerate(following)]
                token = max(range(len(seen)), key=lambda v: (seen[v], v == 3, -v))
                taken.append(token)
                is_open[group] = token != 3
                outputs[group] += (token,)
    return {tuple(t for t in output if t != 3) for output in outputs}


@pytest.mark.parametrize("diversity", [0.3, 2.0])
def test_groups_of_one_are_greedy_searches_that_avoid_each_other(diversity: float) -> None:
    scorer, sources = RecurrentToy(25, 7), sentences(12, 7)
    settings = grouped(4, 4, diversity, length_penalty=0.0)
    found = search(scorer, sources, settings, "cpu", keep=4)
    for source, one in zip(sources, found, strict=True):
        assert {h.tokens for h in one} == one_by_one(scorer, source, 4, diversity)
        for h in one:
            expected = rescored(scorer, source, h.tokens, h.finished)
            assert h.log_prob == h.score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "settings",
    [grouped(6, 3, 0.7), grouped(6, 2, 2.0, no_repeat_ngram=2, min_offset=2)],
)
def test_n_best_lists_are_distinct_and_company_changes_nothing(settings: Search) -> None:
    scorer, sources = RecurrentToy(14, 4), sentences(40, 4)
    constraints = [
        spec_of(prefix=(5, 9)) if len(source) % 2 else ConstraintSpec() for source in sources
    ]
    found = search(scorer, sources, settings, "cpu", keep=6, constraints=constraints)
    for one in found:
        assert len({(h.tokens, h.finished) for h in one}) == len(one) > 1
        assert [(h.finished, h.score) for h in one] == sorted(
            ((h.finished, h.score) for h in one), reverse=True
        )
    order = random.Random(1).sample(range(40), 23)
    mixed = search(
        scorer,
        [sources[i] for i in order],
        settings,
        "cpu",
        keep=6,
        constraints=[constraints[i] for i in order],
    )
    assert facts(mixed) == [facts(found)[i] for i in order]
    surfaces = ["", "", "", "", *(f" w{i}" for i in range(10))]
    ban = spec_of(avoid=NegativeConstraints(["w1", "w2"], Spelling(surfaces)))
    for one in search(scorer, sources[:9], settings, "cpu", keep=6, constraints=[ban] * 9):
        assert not {5, 6} & {token for h in one for token in h.tokens}


def test_what_groups_do_not_go_with_is_refused() -> None:
    beam = BeamSearch(kind="beam", width=6)
    assert override(beam, {"groups": 3, "diversity": 0.2}) == BeamSearch(
        kind="beam", width=6, groups=3, diversity=0.2
    )
    with pytest.raises(UsageError, match="expected a divisor of the beam's width 6, found 4"):
        override(beam, {"groups": 4})
    goal = spec_of(must=PositiveConstraints([], Spelling(["", "", "", "", " a"])))
    with pytest.raises(UsageError, match="need a beam of one group"):
        search(RecurrentToy(5, 1), [[4]], grouped(4, 2, 0.5), "cpu", constraints=[goal])
