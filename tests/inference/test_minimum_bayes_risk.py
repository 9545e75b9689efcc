"""Minimum Bayes risk decoding: what it chooses, and that it depends on the line alone."""

from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from s2s.errors import UsageError
from s2s.inference.nbest import Output
from s2s.metrics.pairwise import build_utility
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import BeamSearch, MbrSearch, SampleSearch, Search
from s2s.search.hypothesis import Hypothesis
from s2s.search.minimum_bayes_risk import merge
from s2s.search.strategies.build import candidate_searches
from tests.inference.test_translator import random_translator
from tests.search.toys import spec_of

LIMITS = {"max_ratio": 0.5, "max_offset": 4}
SAMPLES = SampleSearch(kind="sample", samples=12, seed=3, **LIMITS)
BEAM = BeamSearch(kind="beam", width=12, length_penalty=0.5, **LIMITS)
MBR = MbrSearch(kind="mbr", candidates=12, seed=3, length_penalty=0.5, **LIMITS)
CHOICES = [
    MBR,
    replace(MBR, candidates_from="beam", weighting="probability"),
    replace(MBR, candidates_from="both", utility=("bleu", "chrf")),
]
LINES = ["abc", "", "edcba", " ", "a b c d e", "d", "aaaa", "ebe"]


def listed(search: Search, keep: int = 1) -> list[list[Output]]:
    return random_translator(search).outputs(LINES, 0, keep)


def name(search: MbrSearch) -> str:
    return search.candidates_from


def test_the_searches_for_candidates_are_those_of_the_recipe() -> None:
    assert candidate_searches(replace(MBR, candidates_from="both")) == (SAMPLES, BEAM)


@pytest.mark.parametrize("search", CHOICES, ids=name)
def test_outputs_are_ranked_by_expected_utility(search: MbrSearch) -> None:
    """The oracle computes it from the listed candidates, a text at a time."""
    parts = [listed(one, 12) for one in candidate_searches(search)]
    candidates = [list(chain(*of_line)) for of_line in zip(*parts, strict=True)]
    utility = build_utility(search.utility, Scoring())
    for outputs, found in zip(candidates, listed(search, 12), strict=True):
        if len(outputs) == len(parts):  # a blank line
            assert found == outputs[:1]
            continue
        (values,) = utility([[one.text for one in outputs]])
        weights = np.ones(len(outputs))
        if search.weighting == "probability":  # the hypotheses of a beam differ
            weights = np.exp([one.log_prob for one in outputs])
        expected = dict(
            zip([o.text for o in outputs], values @ weights / weights.sum(), strict=True)
        )
        best = {text: max(one.log_prob for one in outputs if one.text == text) for text in expected}
        ranked = sorted(expected, key=lambda text: (-round(expected[text], 9), -best[text]))
        assert [one.text for one in found] == ranked[:12]
        assert [one.log_prob for one in found] == [best[one.text] for one in found]
        assert [one.score for one in found] == pytest.approx([expected[one.text] for one in found])


@pytest.mark.parametrize("source", ["sample", "beam"])
def test_a_single_candidate_is_the_result_of_its_search(source: str) -> None:
    mbr = replace(MBR, candidates=1, candidates_from=source)
    (search,) = candidate_searches(mbr)
    for (one,), (other,) in zip(listed(mbr), listed(search), strict=True):
        assert replace(one, score=other.score) == other
        assert one.score in (0.0, 100.0)


def test_exact_matches_choose_the_most_frequent_sample() -> None:
    mbr = replace(MBR, candidates=40, utility=("exact",), max_ratio=0.1, max_offset=3)
    (samples,) = (listed(one, 40) for one in candidate_searches(mbr))
    decided = 0
    for (found,), outputs in zip(listed(mbr), samples, strict=True):
        counts = Counter(one.text for one in outputs)
        most = max(counts.values())
        if len(outputs) > 1:
            assert found.score == pytest.approx(100.0 * most / 40)
        tied = [one for one in outputs if counts[one.text] == most]
        assert found.text == max(tied, key=lambda one: one.log_prob).text
        decided += len(outputs) > 1 and most > 1
    assert decided


@pytest.mark.parametrize("search", CHOICES, ids=name)
def test_an_output_depends_on_its_line_and_place_alone(
    search: MbrSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = listed(search, 3)
    translator = random_translator(search)
    for place, line in enumerate(LINES):
        assert translator.outputs([line], place, 3) == [expected[place]]
    monkeypatch.setattr("s2s.search.ranking.CANDIDATES", 30)
    assert listed(search, 3) == expected


def test_a_long_line_is_decided_piece_by_piece() -> None:
    notes: list[str] = []
    translator = random_translator(MBR, notes)
    line = "abc de. " * 30
    (found,) = translator.outputs([line], 0, 2)
    pieces = translator.pieces([line]).sources
    assert len(pieces) > 1
    assert "pieces" in notes[0]
    # The first piece has the number of a whole line in the same place.
    ((first, second),) = translator.outputs([pieces[0].text], 0, 2)
    assert [found[0].text.startswith(first.text), found[1].text.startswith(second.text)] == [
        True
    ] * 2


@pytest.mark.parametrize("source", ["sample", "beam"])
def test_constraints_hold(source: str) -> None:
    mbr = replace(MBR, candidates_from=source)
    translator = random_translator(mbr)
    ids = tuple(translator.target.encode(["bb"])[0])
    found = translator.outputs(["abc", "de"], 0, 1, [spec_of(prefix=ids), spec_of()])
    assert found[0][0].text.startswith("bb")
    assert found[1] == translator.outputs(["x", "de"], 0, 1)[1]


def test_more_outputs_than_candidates_are_refused() -> None:
    with pytest.raises(UsageError, match="the 13 best outputs need as many candidates, found 12"):
        listed(MBR, 13)


def hypothesis(tokens: tuple[int, ...], log_prob: float) -> Hypothesis:
    return Hypothesis(0, tokens, log_prob, 0.0, finished=True)


def test_probabilities_of_a_text_are_summed_over_its_segmentations() -> None:
    several = [
        hypothesis((5,), np.log(0.2)),
        hypothesis((6, 7), np.log(0.3)),
        hypothesis((5,), np.log(0.2)),
        hypothesis((8,), np.log(0.5)),
    ]
    merged = merge(["a", "a", "a", "b"], several, "probability")
    assert merged.texts == ["a", "b"]
    assert merged.hypotheses == [several[1], several[3]]
    np.testing.assert_allclose(merged.weights_N, [0.5, 0.5])
    np.testing.assert_allclose(
        merge(["a", "a", "a", "b"], several, "count").weights_N, [0.75, 0.25]
    )
