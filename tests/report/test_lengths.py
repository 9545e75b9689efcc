"""Scores by source length."""

import random
from itertools import pairwise

import numpy as np
import pytest

from s2s.metrics.build import build
from s2s.metrics.corpus import score
from s2s.recipe.scoring import Scoring
from s2s.report.lengths import LEAST_LINES, MOST_BINS, bounds, score_by_length
from s2s.report.translate_split import extremes, spread


@pytest.mark.parametrize("count", [1, 5, 39, 40, 61, 500])
@pytest.mark.parametrize("longest", [1, 3, 60])
def test_bins_have_every_length_once_and_enough_lines(count: int, longest: int) -> None:
    draw = random.Random(count)
    lengths = [draw.randint(1, longest) for _ in range(count)]
    found = bounds(lengths)
    assert (found[0][0], found[-1][1]) == (min(lengths), max(lengths))
    assert all(first <= last for first, last in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))
    counts = [sum(first <= length <= last for length in lengths) for first, last in found]
    assert sum(counts) == count
    assert len(found) <= MOST_BINS
    if longest == 60 and count == 500:
        assert len(found) == MOST_BINS and max(counts) < 1.5 * min(counts)
    if len(found) > 1:
        assert min(counts[:-1]) >= LEAST_LINES // 2


def test_the_score_of_a_bin_is_that_of_its_lines_as_a_corpus() -> None:
    draw = random.Random(3)
    words = ["ein", "zwei", "drei", "vier", "fünf", "sechs"]
    wanted = [" ".join(draw.choices(words, k=draw.randint(3, 12))) for _ in range(150)]
    said = [" ".join(w for w in line.split() if draw.random() < 0.9) for line in wanted]
    lengths = [len(line.split()) for line in wanted]
    for name in ("bleu", "chrf", "wer"):
        metric = build(name, Scoring())
        found = score_by_length(metric.measure([said], [(w,) for w in wanted]), 0, lengths)
        assert sum(one.count for one in found) == 150
        for one in found:
            rows = [i for i, n in enumerate(lengths) if one.first <= n <= one.last]
            oracle = score((name,), [said[i] for i in rows], [[wanted[i] for i in rows]])
            assert one.value == pytest.approx(oracle.value(name))
            assert one.count == len(rows)
            assert one.low <= one.value <= one.high
            assert one.high - one.low > 0.5


def test_bounds_of_intervals_are_possible_values() -> None:
    said = ["a b c d e f"] * 39 + ["a b c d e x"]
    statistics = build("bleu", Scoring()).measure([said], [("a b c d e f",)] * 40)
    (found, *_) = score_by_length(statistics, 0, [1] * 40)
    assert found.value < found.high <= 100.0 + 1e-9


def test_the_best_and_the_worst_lines() -> None:
    scores = [50.0, 100.0, 0.0, 100.0, 20.0, 0.0]
    sources = ["a", "a", "a", "aaa", "a", "aaaa"]
    assert extremes(scores, sources, 2, is_lower_better=False) == ([3, 1], [5, 2])
    assert extremes(scores, sources, 2, is_lower_better=True) == ([5, 2], [3, 1])
    best, worst = extremes(scores, sources, 5, is_lower_better=False)
    assert (best, worst) == ([3, 1, 0, 4, 5], [2])
    assert extremes(scores, sources, 0, is_lower_better=False) == ([], [])


def test_samples_lie_at_equal_distances() -> None:
    for lines in (1, 7, 10, 500):
        found = spread(lines, 10)
        assert len(set(found)) == len(found) == min(lines, 10)
        assert all(0 <= place < lines for place in found)
    assert set(np.diff(spread(500, 10)).tolist()) == {50}
