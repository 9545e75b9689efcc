import numpy as np
import pytest
from numpy.typing import NDArray

from s2s.metrics.line_search import (
    Candidates,
    best_on_axis,
    corpus_worth,
    envelope,
    tune_weights,
)

Floats = NDArray[np.float64]


def worth(sums_K: Floats) -> float:
    """A metric that is no mean over lines: F1 of sums."""
    common, outputs, references = sums_K.tolist()
    return float(2.0 * common / (outputs + references))


def lists_of(seed: int, count: int = 12) -> list[Candidates]:
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        size = int(draw.integers(1, 6))
        outputs = draw.integers(1, 9, size=size)
        common = draw.integers(0, outputs + 1)
        statistics = np.stack([common, outputs, np.full(size, 5)], axis=1).astype(np.float64)
        found.append(Candidates(draw.normal(size=(size, 3)), statistics))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_envelope_has_the_best_candidate_of_every_weight(seed: int) -> None:
    draw = np.random.default_rng(seed)
    offsets, slopes = draw.integers(-3, 4, size=(2, 7)).astype(np.float64)
    places, points = envelope(offsets, slopes)
    assert (np.diff(points) >= 0).all()
    for weight in np.linspace(-7.03, 7.07, 200):
        scores = offsets + weight * slopes
        assert scores[places[int(np.searchsorted(points, weight))]] == pytest.approx(scores.max())


@pytest.mark.parametrize("seed", range(5))
def test_no_weight_of_a_fine_grid_is_better_than_that_of_the_line_search(seed: int) -> None:
    lists = lists_of(seed)
    weights = np.array([1.0, -0.5, 0.25])
    for axis in range(3):
        tried = np.tile(weights, (801, 1))
        tried[:, axis] = np.linspace(-40.0, 40.0, 801)
        found = weights.copy()
        found[axis] = best_on_axis(lists, worth, weights, axis)
        best = max(corpus_worth(lists, worth, one) for one in tried)
        assert corpus_worth(lists, worth, found) >= best - 1e-12


def test_weights_that_lose_nothing_stay() -> None:
    """A single candidate a list: whatever the weights, the metric is the same."""
    lists = [
        one._replace(features_CF=one.features_CF[:1], statistics_CK=one.statistics_CK[:1])
        for one in lists_of(1)
    ]
    np.testing.assert_array_equal(tune_weights(lists, worth)[0], [1.0, 0.0, 0.0])


def test_the_metric_is_that_of_the_weights_and_never_falls() -> None:
    lists = lists_of(3, 40)
    weights, value = tune_weights(lists, worth)
    assert value == pytest.approx(corpus_worth(lists, worth, weights))
    assert value > corpus_worth(lists, worth, np.array([1.0, 0.0, 0.0]))
    assert np.abs(weights).sum() == pytest.approx(1.0)
    assert tune_weights(lists, worth)[0].tolist() == weights.tolist()


def test_a_feature_that_knows_the_answer_decides() -> None:
    lists = [
        one._replace(
            features_CF=np.stack([one.features_CF[:, 0], one.statistics_CK[:, 0]], axis=1),
            statistics_CK=np.stack([one.statistics_CK[:, 0], *[np.full(len(one[0]), 5.0)] * 2], 1),
        )
        for one in lists_of(4)
    ]
    best = worth(np.sum([one.statistics_CK[one.statistics_CK[:, 0].argmax()] for one in lists], 0))
    assert tune_weights(lists, worth)[1] == pytest.approx(best)
