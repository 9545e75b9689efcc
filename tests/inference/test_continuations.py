"""Continuations of the beginning of an output."""

import math
from dataclasses import replace

import pytest

from s2s.errors import UsageError
from s2s.inference.continuations import continuations
from s2s.inference.pair_scores import score_lines
from s2s.inference.translator import LineTranslator
from s2s.recipe.search import BeamSearch, GreedySearch
from tests.inference.test_translator import random_translator

LINE = "abc abd"


@pytest.fixture
def translator() -> LineTranslator:
    search = GreedySearch(kind="greedy", max_ratio=1.0, max_offset=4)
    return replace(random_translator(search), longest=50)


@pytest.mark.parametrize("prefix", ["", "a", "ab ", "b a", "c  "])
def test_each_begins_with_the_prefix_and_is_the_best_that_does(
    translator: LineTranslator, prefix: str
) -> None:
    found = continuations(translator, LINE, prefix, 5)
    assert 1 < len(found) <= 5
    assert len({one.next for one in found}) == len(found)
    begun = " ".join(prefix.split()) + (" " if prefix.endswith(" ") else "")
    for one in found:
        assert one.text.startswith(one.prefix)
        assert one.prefix.startswith(begun.rstrip())
        assert one.prefix.endswith(one.next)
        assert " " not in one.next
        # The oracle is the model under teacher forcing, where the output has ended.
        score = score_lines(translator, [(LINE, one.text)], ("", 0))[0]
        if score.length <= len(LINE):
            assert score.log_prob == pytest.approx(one.log_prob, abs=1e-3)
    log_probs = [one.log_prob for one in found]
    assert log_probs == sorted(log_probs, reverse=True)


def test_the_number_of_continuations_is_that_of_the_vocabulary(translator: LineTranslator) -> None:
    found = continuations(translator, "a", "", 500)
    assert 1 < len(found) <= translator.target.size
    assert all(math.isfinite(one.log_prob) for one in found)


def test_the_search_of_the_translator_continues(translator: LineTranslator) -> None:
    wide = replace(translator, search=BeamSearch(kind="beam", width=4, length_penalty=0.0))
    best = {one.next: one.log_prob for one in continuations(wide, LINE, "", 5)}
    assert best != {one.next: one.log_prob for one in continuations(translator, LINE, "", 5)}


def test_blank_lines_and_lines_in_pieces(translator: LineTranslator) -> None:
    assert continuations(translator, "  ", "a", 5) == []
    short = replace(translator, longest=2, report=lambda text: None)
    with pytest.raises(UsageError, match="translated whole, found one of"):
        continuations(short, "abc abc abc abc", "", 5)
