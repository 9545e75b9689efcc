"""Terms that must not appear, on the text of the output, whatever tokens spell it."""

import random
from typing import Any

import pytest

from s2s.errors import DataError
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.search.constraints.automaton import Automaton, Spelling, Tables
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints, Term
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.text.word_boundaries import joins, occurrences
from tests.search.toys import RecurrentToy, brute_force, rescored, spec_of

LENGTHS: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 3}
STRATEGIES: list[Search] = [
    GreedySearch(kind="greedy", **LENGTHS),
    BeamSearch(kind="beam", width=4, **LENGTHS),
    SampleSearch(kind="sample", samples=3, **LENGTHS),
    ExhaustiveSearch(kind="exhaustive", nodes=200, **LENGTHS),
    BeamSearch(kind="beam", width=3, no_repeat_ngram=3, min_offset=2, **LENGTHS),
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.kind)

SPECIAL: list[str | bytes] = ["", " ⁇ ", "", ""]
SURFACES: list[str | bytes] = [
    *SPECIAL,
    *(" a", " b", "a", "b", "ab", " ab", " ", "猫", "-", "b a", "bab", " a a"),
]
TERMS = ["a", "ab", "b a", "a a", "猫", "猫b", "-a", "b-", "bab a", "a 猫"]
SPELLING = Spelling(SURFACES)


def text_of(tokens: tuple[int, ...]) -> str:
    raw = b"".join(
        s.encode() if isinstance(s, str) else s for s in (SURFACES[token] for token in tokens)
    )
    return raw.decode(errors="replace")


@pytest.mark.parametrize(
    ("text", "term", "count"),
    [
        ("The cat sat", "cat", 1),
        ("the category", "cat", 0),
        ("bobcat cat-like cat", "cat", 2),
        ("the Cat", "cat", 0),
        ("ice  cream\tice cream", "ice cream", 2),
        ("a a a", "a a", 2),
        ("1.5 15", "5", 1),
        ("黒猫が", "猫", 1),
        ("e\u0301 e", "e", 1),
        ("wait... no", "..", 2),
        ("don't", "don", 1),
        ("x_cat", "cat", 0),
        ("", "cat", 0),
        ("a cat", "", 0),
        ("", "", 0),
        ("a cat", " ", 0),
    ],
)
def test_a_term_stands_in_a_text_as_whole_words(text: str, term: str, count: int) -> None:
    assert occurrences(text, term) == count


def test_what_joins() -> None:
    assert all(joins(c) for c in "aÄé9ßжא_\u0301\u200d")
    assert not any(joins(c) for c in " -.'!猫あก")


@pytest.mark.parametrize("seed", range(20))
def test_the_automaton_meets_what_stands_in_the_text(seed: int) -> None:
    draw = random.Random(seed)
    terms = draw.sample(TERMS, 4)
    automaton = Automaton(terms, SPELLING)
    tables = Tables(automaton, SPELLING, [1, 2, 4, 8])
    for _ in range(150):
        tokens = tuple(draw.choices(range(4, len(SURFACES)), k=draw.randint(0, 6)))
        state, bits = 0, 0
        for token in tokens:
            bits |= int(tables.met_QV[state, token])
            state = int(tables.next_QV[state, token])
        bits |= int(tables.ends_Q[state])
        text = text_of(tokens)
        assert [bool(bits >> i & 1) for i in range(4)] == [occurrences(text, t) > 0 for t in terms]
        classes = [automaton.special.get(ord(c), 0 if c == " " else 2 - joins(c)) for c in text]
        state, met = automaton.read(0, classes)
        met.extend(automaton.met_at_end(state))
        assert [met.count(i) for i in range(4)] == [occurrences(text, t) for t in terms]


def test_bytes_spell_terms_too() -> None:
    surfaces = [*SPECIAL, " né", " n", "é", b"\xc3", b"\xa9", "e", " e"]
    ban = NegativeConstraints(["né"], Spelling(surfaces))
    spelled = [(4,), (5, 6), (5, 7, 8)]
    for tokens in spelled:
        assert ban.banned_after(tokens)[3]
        assert ban.banned_after(tokens)[10]
        assert not ban.banned_after(tokens)[9]
    assert not ban.banned_after((5, 7))[3]
    assert not ban.banned_after((5, 7, 9))[3]


def test_words_that_cannot_go_on_are_banned_at_once() -> None:
    ban = NegativeConstraints(
        ["dog", "big cat"], Spelling([*SPECIAL, " dog", " big", " cat", " ."])
    )
    assert ban.banned_after(()).tolist()[4:] == [True, False, False, False]
    assert ban.banned_after((5,)).tolist()[4:] == [True, False, True, False]


def sentences(count: int, seed: int, longest: int = 9) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def constraints(count: int, seed: int) -> list[ConstraintSpec]:
    draw = random.Random(seed)
    several = [NegativeConstraints(draw.sample(TERMS, k), SPELLING) for k in (1, 1, 2, 3)]
    return [spec_of(avoid=draw.choice([None, *several])) for _ in range(count)]


def facts(found: list[list[Hypothesis]]) -> list[list[tuple[tuple[int, ...], float, float, bool]]]:
    return [[(h.tokens, h.log_prob, h.score, h.finished) for h in one] for one in found]


@every_strategy
def test_no_output_holds_what_it_must_not(strategy: Search) -> None:
    scorer, sources = RecurrentToy(len(SURFACES), 1), sentences(30, 1)
    asked = constraints(30, 2)
    free = search(scorer, sources, strategy, "cpu")
    found = search(scorer, sources, strategy, "cpu", constraints=asked)
    hit = 0
    for source, constraint, one, before in zip(sources, asked, found, free, strict=True):
        avoided = constraint.of_kind(NegativeConstraints)
        for h in one:
            for term in avoided.terms if avoided else ():
                assert occurrences(text_of(h.tokens), term) == 0
                hit += occurrences(text_of(before[0].tokens), term) > 0
            expected = rescored(scorer, source, h.tokens, h.finished)
            assert h.log_prob == pytest.approx(expected, abs=1e-4)
    assert hit > 0
    again = search(
        scorer, sources[::-2], strategy, "cpu", constraints=asked[::-2], places=range(30)[::-2]
    )
    assert facts(again) == facts(found)[::-2]
    for one, before, constraint in zip(found, free, asked, strict=True):
        if constraint.of_kind(NegativeConstraints) is None:
            assert facts([one]) == facts([before])


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_best_of_what_is_left(seed: int) -> None:
    lengths: dict[str, Any] = {"max_ratio": 1e-9, "max_offset": 3, "length_penalty": 0.0}
    settings = BeamSearch(kind="beam", width=13**3, **lengths)
    vocabulary = 12
    spelling = Spelling(SURFACES[:vocabulary])
    scorer = RecurrentToy(vocabulary, seed, sharpness=3.0)
    terms = random.Random(seed).sample(TERMS[:5], 2)
    constraint = spec_of(avoid=NegativeConstraints(terms, spelling))
    best = next(
        f
        for f in brute_force(scorer, [7], settings)
        if not any(occurrences(text_of(f[1]), term) for term in terms)
    )
    (found,) = search(scorer, [[7]], settings, "cpu", constraints=[constraint])[0]
    assert (found.tokens, found.finished) == (best[1], best[3])
    proven = ExhaustiveSearch(kind="exhaustive", width=2, max_ratio=1e-9, max_offset=3)
    (found,) = search(scorer, [[7]], proven, "cpu", constraints=[constraint])[0]
    assert (found.tokens, found.proven) == (best[1], True)


def test_where_nothing_else_is_left_the_output_ends() -> None:
    spelling = Spelling([*SPECIAL, " a", " b"])
    constraint = spec_of(avoid=NegativeConstraints(["a", "b", "⁇"], spelling))
    for strategy in STRATEGIES[:2]:
        (found,) = search(RecurrentToy(6, 1), [[5]], strategy, "cpu", constraints=[constraint])[0]
        assert (found.tokens, found.finished) == ((), True)


def test_terms_that_would_fill_the_memory_are_refused_at_once() -> None:
    """A request to a server may have twenty of 2,000 characters."""
    draw = random.Random(1)
    terms = ["".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(2000)) for _ in range(20)]
    with pytest.raises(DataError, match=r"too long together \(40,000 characters in 20"):
        NegativeConstraints(terms, SPELLING)
    with pytest.raises(DataError, match="leave some out"):
        PositiveConstraints([Term(term, (5,)) for term in terms], SPELLING)


def test_where_no_token_is_a_byte_the_states_are_those_of_characters() -> None:
    """Each place in a term is a state, as are the beginning and what ends with no term."""
    spelling = Spelling(["", "", "", "", " 猫", "黒", "x"])
    automaton = Automaton(["黒猫犬", "白い鳥"], spelling)
    assert len(automaton.states) <= 3 + 3 + 3
    with_bytes = Automaton(["黒猫犬", "白い鳥"], Spelling(["", "", "", "", bytes([0xE9]), "x"]))
    assert len(with_bytes.states) > len(automaton.states)
