"""Terms that must appear: all finished outputs have them, a wide beam finds the best of those."""

import random
from typing import Any

import pytest
import torch

from s2s.errors import UsageError
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.search.constraints.automaton import Spelling
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints, Term
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.search.strategies.dynamic_beam_allocation import allocated
from s2s.special import EOS
from s2s.text.word_boundaries import occurrences, single_spaced
from tests.search.toys import RecurrentToy, log_probs, rescored, spec_of

Tokens = tuple[int, ...]
SURFACES: list[str | bytes] = [
    *["", " ⁇ ", "", ""],
    *(" a", " b", "a", "猫", "-", " ab", "b", " a a", "猫猫", " "),
]
TERMS = ["a", "b", "ab", "a b", "b a", "a a", "猫", "猫a", "-", "ba", "a a a", "猫 猫"]
LENGTHS: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 8}


def spelled(term: str, vocabulary: int) -> Term:
    """The term cut from the left into the longest tokens."""
    surfaces = [str(surface) for surface in SURFACES[:vocabulary]]
    rest, tokens = f" {term}", []
    while rest:
        fitting = [v for v in range(4, vocabulary) if rest.startswith(surfaces[v])]
        if not fitting:  # a space that no token brings
            rest = rest.removeprefix(" ")
            continue
        tokens.append(max(fitting, key=lambda v: len(surfaces[v])))
        rest = rest.removeprefix(surfaces[tokens[-1]])
    return Term(term, tuple(tokens))


def text_of(tokens: tuple[int, ...]) -> str:
    return "".join(str(SURFACES[token]) for token in tokens)


def is_met(tokens: tuple[int, ...], terms: list[str]) -> bool:
    return all(occurrences(text_of(tokens), term) >= terms.count(term) for term in terms)


def goal(terms: list[str], vocabulary: int = len(SURFACES)) -> ConstraintSpec:
    spelling = Spelling(SURFACES[:vocabulary])
    return spec_of(
        must=PositiveConstraints([spelled(term, vocabulary) for term in terms], spelling)
    )


def facts(found: list[list[Hypothesis]]) -> list[list[tuple[tuple[int, ...], float, float, bool]]]:
    return [[(h.tokens, h.log_prob, h.score, h.finished) for h in one] for one in found]


def outputs(scorer: RecurrentToy, source: list[int], most: int) -> list[tuple[float, Tokens]]:
    """All outputs of up to `most` tokens that end, with their log-probabilities."""
    found: list[tuple[float, Tokens]] = []
    live: list[tuple[float, Tokens]] = [(0.0, ())]
    for length in range(most + 1):
        grown = []
        for total, prefix in live:
            following = log_probs(scorer, source, prefix)
            found.append((total + following[EOS], prefix))
            grown += [
                (total + p, (*prefix, v)) for v, p in enumerate(following) if v not in (0, 2, 3)
            ]
        live = grown if length < most else []
    return found


@pytest.mark.parametrize("seed", range(16))
def test_a_wide_beam_finds_the_best_output_with_its_terms(seed: int) -> None:
    draw = random.Random(seed)
    vocabulary, penalty = 10, seed % 2
    settings = BeamSearch(
        kind="beam", width=450, max_ratio=1e-9, max_offset=4, length_penalty=float(penalty)
    )
    scorer = RecurrentToy(vocabulary, seed, sharpness=3.0)
    terms = draw.choices(TERMS, k=draw.randint(1, 3))
    fitting = [
        (total / (len(tokens) + 1) ** penalty, tokens)
        for total, tokens in outputs(scorer, [7], 3)
        if is_met(tokens, terms)
    ]
    (found,) = search(scorer, [[7]], settings, "cpu", constraints=[goal(terms, vocabulary)])[0]
    assert found.finished == bool(fitting)
    if fitting:
        score, tokens = max(fitting)
        assert (found.tokens, found.score) == (tokens, pytest.approx(score, abs=1e-5))


def sentences(count: int, seed: int, longest: int = 9) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


@pytest.mark.parametrize("width", [1, 2, 5, 9])
def test_finished_outputs_have_their_terms_in_any_company(width: int) -> None:
    settings = BeamSearch(kind="beam", width=width, **LENGTHS)
    draw = random.Random(width)
    scorer, sources = RecurrentToy(len(SURFACES), 1), sentences(40, 1)
    asked = [draw.choices(TERMS, k=draw.randint(0, 3)) for _ in sources]
    constraints = [goal(terms) if terms else ConstraintSpec() for terms in asked]
    found = search(scorer, sources, settings, "cpu", keep=width, constraints=constraints)
    ended = 0
    for source, terms, one in zip(sources, asked, found, strict=True):
        for h in one:
            ended += h.finished and bool(terms)
            assert not h.finished or is_met(h.tokens, terms)
            expected = rescored(scorer, source, h.tokens, h.finished)
            assert h.log_prob == pytest.approx(expected, abs=1e-4)
        assert len({(h.tokens, h.finished) for h in one}) == len(one)
    assert ended >= 5
    order = draw.sample(range(40), 25)
    mixed = search(
        scorer,
        [sources[i] for i in order],
        settings,
        "cpu",
        keep=width,
        constraints=[constraints[i] for i in order],
    )
    assert facts(mixed) == [facts(found)[i] for i in order]
    free = facts(search(scorer, sources, settings, "cpu", keep=width))
    for terms, one, before in zip(asked, facts(found), free, strict=True):
        if not terms:
            assert one == before


def test_where_tokens_are_letters_a_term_is_spaced_from_the_word_before() -> None:
    surfaces: list[str | bytes] = ["", " ⁇ ", "", "", "a", "b", "c", " ", "-"]
    must = PositiveConstraints([Term("ab", (4, 5)), Term("c a", (6, 7, 4))], Spelling(surfaces))
    settings = BeamSearch(kind="beam", width=9, **LENGTHS)
    found = search(
        RecurrentToy(9, 2),
        sentences(20, 2),
        settings,
        "cpu",
        constraints=[spec_of(must=must)] * 20,
    )
    for (h,) in found:
        text = "".join(str(surfaces[token]) for token in h.tokens)
        assert occurrences(text, "ab") and occurrences(text, "c a")


def test_without_terms_it_is_the_beam() -> None:
    settings = BeamSearch(kind="beam", width=6, **LENGTHS)
    scorer, sources = RecurrentToy(len(SURFACES), 3), sentences(30, 3)
    nothing = spec_of(must=PositiveConstraints([], Spelling(SURFACES)))
    found = search(scorer, sources, settings, "cpu", keep=6, constraints=[nothing] * 30)
    assert facts(found) == facts(search(scorer, sources, settings, "cpu", keep=6))


def test_terms_go_together_with_a_prefix_and_with_bans() -> None:
    settings = BeamSearch(kind="beam", width=5, no_repeat_ngram=4, **LENGTHS)
    scorer, sources = RecurrentToy(len(SURFACES), 4), sentences(20, 4)
    constraint = spec_of(
        prefix=(8, 9),
        must=goal(["b a", "猫"]).of_kind(PositiveConstraints),
        avoid=NegativeConstraints(["a b", "ab"], Spelling(SURFACES)),
    )
    for (h,) in search(scorer, sources, settings, "cpu", constraints=[constraint] * 20):
        assert h.tokens[:2] == (8, 9)
        text = text_of(h.tokens)
        assert not h.finished or is_met(h.tokens, ["b a", "猫"])
        assert not occurrences(text, "a b") and not occurrences(text[2:], " ab")


def test_only_beam_search_looks_for_terms() -> None:
    with pytest.raises(UsageError, match="terms that must appear need beam search, found greedy"):
        search(
            RecurrentToy(14, 1),
            [[5]],
            GreedySearch(kind="greedy"),
            "cpu",
            constraints=[goal(["a"])],
        )


def test_places_go_to_banks_and_what_they_leave_to_the_last() -> None:
    values = torch.tensor([[-1.0, -2, -3, -4, -5, -6, -torch.inf]], dtype=torch.float64)
    banks = torch.tensor([[0, 0, 0, 1, 2, 0, 2]])
    for width, total, expected in [
        (3, 2, [0, 3, 4]),  # one each
        (5, 2, [0, 1, 2, 3, 4]),  # of 1, 2, 2 the last two use one each
        (2, 2, [3, 4]),
        (4, 2, [0, 1, 3, 4]),
        (2, 4, [3, 4]),  # nobody in the banks with places
    ]:
        totals = torch.tensor([[total]])
        chosen = allocated(values, banks, (totals, total + 1), width)
        assert torch.equal(chosen, allocated(values, banks, (totals, total + 5), width))
        assert chosen.tolist() == [expected]


def test_the_text_of_a_toys_term_is_the_term() -> None:
    for term in TERMS:
        assert single_spaced(text_of(spelled(term, len(SURFACES)).tokens)) in (term, f" {term}")
