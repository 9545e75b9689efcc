"""Document frequencies of fixed references."""

import random
from itertools import pairwise

import numpy as np
import pytest

from s2s.metrics.cider import build_cider
from s2s.metrics.document_frequencies import DocumentFrequencies
from s2s.recipe.scoring import Scoring


def texts(number: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices("abcde", k=draw.randint(0, 7))) for _ in range(number)]


def test_frequencies_are_numbers_of_documents() -> None:
    words = build_cider(Scoring()).words
    references = [("a b", "b a b"), ("b",), ("a b a",)]
    found = list(DocumentFrequencies(words, references, 2).of([["b", "a", "b", "z"], ["a"]]))
    assert found[0].tolist() == [3, 2, 3, 0, 2]
    assert found[1].tolist() == [2, 2, 0]


def test_no_reference_has_none() -> None:
    words = build_cider(Scoring()).words
    found = DocumentFrequencies(words, [("",)], 3)
    assert [one.tolist() for one in found.of([["a", "b"]])] == [[0, 0], [0], []]


def test_with_the_frequencies_of_its_own_references_cider_is_the_same() -> None:
    cider = build_cider(Scoring())
    first, second, outputs = texts(40, 1), texts(40, 2), texts(40, 3)
    references = list(zip(first, second, strict=True))
    expected = cider.measure([outputs, first], references).line_values()
    fixed = cider.with_frequencies_of(references)
    found = fixed.measure([outputs, first], references).line_values()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.ptp(expected[:, -1]) > 1


def test_a_line_by_itself_scores_as_among_others() -> None:
    references = list(zip(texts(30, 4), texts(30, 5), strict=True))
    cider = build_cider(Scoring()).with_frequencies_of(references)
    outputs = texts(30, 6)
    whole = cider.measure([outputs], references).line_values()
    alone = [cider.measure([[outputs[n]]], [references[n]]).line_values()[0, -1] for n in range(30)]
    assert alone == pytest.approx(whole[:, -1].tolist())
    assert all(one >= 0 for one in alone)
    assert any(one != other for one, other in pairwise(alone))
