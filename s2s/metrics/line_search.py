"""Weights that maximize a corpus metric over lists of candidates, by exact line search.

Along a line in the space of weights the score of each candidate is linear, so the best candidate of
each list changes at finitely many points; between them the metric is constant (Och 2003, "Minimum
Error Rate Training in Statistical Machine Translation", section 4). Here the lines are the axes.

Dimension letters: C candidates of a list, F features, K statistics of a candidate, P points.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_GAIN = 1e-9
"""Smaller differences of the metric are rounding errors."""


class Candidates(NamedTuple):
    """The candidates of a list."""

    features_CF: Floats
    statistics_CK: Floats


Worth = Callable[[Floats], float]
"""The metric of summed statistics [K]; higher is better."""


def tune_weights(lists: Sequence[Candidates], worth: Worth) -> tuple[Floats, float]:
    """Weights [F], whose absolute values sum to 1, and the metric of the candidates they choose.

    Axis by axis until none improves the metric, from the first feature alone and from the first
    with each other. Of equal results the first is kept, and weights change only for a gain.
    """
    axes = np.eye(lists[0].features_CF.shape[1])
    starts = [axes[0], *(axes[0] + axis for axis in axes[1:])]
    best: tuple[Floats, float] | None = None
    for start in starts:
        found = _ascend(lists, worth, start)
        if best is None or found[1] > best[1] + LEAST_GAIN:
            best = found
    assert best is not None, "there is a feature"
    return best[0] / np.abs(best[0]).sum(), best[1]


def corpus_worth(lists: Sequence[Candidates], worth: Worth, weights_F: Floats) -> float:
    """The metric of the candidates that weights choose; of equal ones the first."""
    chosen = [one.statistics_CK[int(np.argmax(one.features_CF @ weights_F))] for one in lists]
    return worth(np.sum(chosen, axis=0))


def _ascend(lists: Sequence[Candidates], worth: Worth, weights_F: Floats) -> tuple[Floats, float]:
    value = corpus_worth(lists, worth, weights_F)
    improves = True
    while improves:
        improves = False
        for axis in range(len(weights_F)):
            changed = weights_F.copy()
            changed[axis] = best_on_axis(lists, worth, weights_F, axis)
            found = corpus_worth(lists, worth, changed) if changed.any() else -np.inf
            if found > value + LEAST_GAIN:
                weights_F, value, improves = changed, found, True
    return weights_F, value


def best_on_axis(lists: Sequence[Candidates], worth: Worth, weights_F: Floats, axis: int) -> float:
    """The weight of one feature with the best metric, the others as they are.

    In the middle of an interval; of equal ones that nearest to the present weight.
    """
    others_F = weights_F.copy()
    others_F[axis] = 0.0
    points: list[Floats] = []
    changes: list[Floats] = []
    sums_K = np.zeros(lists[0].statistics_CK.shape[1])
    for one in lists:
        places, at_P = envelope(one.features_CF @ others_F, one.features_CF[:, axis])
        chosen = one.statistics_CK[places]
        sums_K += chosen[0]
        points.append(at_P)
        changes.append(np.diff(chosen, axis=0))
    at_P = np.concatenate(points)
    if not len(at_P):
        return float(weights_F[axis])
    order = np.argsort(at_P, kind="stable")
    sums_PK = sums_K + np.cumsum(np.concatenate(changes)[order], axis=0)
    at_P = at_P[order]
    is_last = np.append(at_P[1:] != at_P[:-1], True)
    sums_PK, at_P = sums_PK[is_last], at_P[is_last]
    values = np.array([worth(sums_K), *map(worth, sums_PK)])
    middles = np.array([at_P[0] - 1.0, *((at_P[1:] + at_P[:-1]) / 2), at_P[-1] + 1.0])
    is_best = values >= values.max() - LEAST_GAIN
    return float(min(middles[is_best], key=lambda point: abs(point - weights_F[axis])))


def envelope(offsets_C: Floats, slopes_C: Floats) -> tuple[list[int], Floats]:
    """The candidates with the highest offset + weight * slope, from the lowest weight to the
    highest, and the weights at which they change."""
    order = np.lexsort((-offsets_C, slopes_C))
    places: list[int] = [int(order[0])]
    points: list[float] = []
    while True:
        now = places[-1]
        later = np.flatnonzero(slopes_C > slopes_C[now])
        if not len(later):
            return places, np.array(points)
        crossings = (offsets_C[now] - offsets_C[later]) / (slopes_C[later] - slopes_C[now])
        first = crossings.min()
        tied = later[crossings == first]
        places.append(int(tied[np.argmax(slopes_C[tied])]))
        points.append(float(first))
