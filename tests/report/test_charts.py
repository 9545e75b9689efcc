"""Charts: ticks, points, what is left out."""

import math
import random
import re

import pytest

from s2s.report.charts import MOST_POINTS, Bar, Chart, Curve, Mark, thinned, training_charts
from s2s.report.svg import number_text, svg, ticks
from s2s.run.history import read_history


def test_ticks_are_round_and_cover_the_values() -> None:
    draw = random.Random(4)
    for _ in range(2000):
        low = draw.uniform(-1, 1) * 10 ** draw.uniform(-6, 6)
        high = low + 10 ** draw.uniform(-6, 6)
        found = ticks(low, high)
        step = found[1] - found[0]
        assert found[0] <= low + 1e-6 * step and found[-1] >= high - 1e-6 * step
        assert found[0] > low - 1.001 * step and found[-1] < high + 1.001 * step
        assert 3 <= len(found) <= 8
        digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert any(digits == pytest.approx(good, rel=1e-3) for good in (1, 2, 2.5, 5, 10))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-12, 1e12])
def test_a_single_value_has_ticks_around_it(value: float) -> None:
    found = ticks(value, value)
    assert found[0] < value < found[-1]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (12_345.6, 4, "12,346"),
        (0.000123456, 3, "0.000123"),
        (3e-5, 3, "3e-05"),
        (99.3217, 4, "99.32"),
        (-1500, 3, "-1,500"),
    ],
)
def test_numbers_in_text(value: float, digits: int, text: str) -> None:
    assert number_text(value, digits) == text


def test_long_curves_keep_their_mean_and_their_ends() -> None:
    points = [(float(x), float(x % 7)) for x in range(7 * MOST_POINTS)]
    found = thinned(points)
    assert len(found) == MOST_POINTS
    assert found[0] == (3.0, 3.0)
    assert sum(y for _, y in found) / len(found) == pytest.approx(3.0)
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    assert thinned(points[:MOST_POINTS]) == tuple(points[:MOST_POINTS])
    assert thinned([]) == ()


def test_curves_lie_where_the_axes_say() -> None:
    """The ends of a straight line are at the places of the ticks with their values."""
    drawn = str(svg(Chart("t", "update", (Curve("c", ((0.0, 10.0), (100.0, 20.0))),))))
    (points,) = re.findall(r'<polyline points="([^"]*)"', drawn)
    (x0, y0), (x1, y1) = (map(float, pair.split(",")) for pair in points.split())
    x_of = dict(re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle">(\d+)<', drawn))
    y_of = dict(re.findall(r'y="([\d.]+)" dy=".32em" text-anchor="end">(\d+)<', drawn))
    x_of, y_of = ({text: float(place) for place, text in m.items()} for m in (x_of, y_of))
    assert (x_of["0"], x_of["100"]) == (x0, x1)
    assert (y_of["10"], y_of["20"]) == (y0, y1)
    assert y1 < y0  # up is more


def test_text_in_charts_is_escaped() -> None:
    bad = "\"><script>'&"
    curves = Chart(bad, bad, (Curve(bad, ((1.0, 2.0),)),), (Mark(1.0, bad),))
    bars = Chart(bad, bad, bars=(Bar(bad, 1.0, 0.5, 1.5, bad),))
    for chart in (curves, bars):
        drawn = str(svg(chart))
        assert "<script" not in drawn and "'&" not in drawn
        assert "&lt;script&gt;" in drawn


def test_a_chart_without_points_is_left_out() -> None:
    log = [
        {"event": "update", "update": 1, "nll": None, "learning_rate": 1e-3, "smoothed": "x"},
        {"event": "validation", "update": 1, "nll": 2.0, "scores": {"bleu": {"value": None}}},
        {"event": "validation", "update": 2, "nll": math.nan, "scores": [1]},
    ]
    charts = {chart.title: chart for chart in training_charts(read_history(log))}
    assert [title.partition(" ")[0] for title in charts] == ["Loss", "Learning"]
    assert [c.label for c in charts["Loss (negative log-likelihood per token)"].curves] == [
        "validation"
    ]
    assert training_charts(read_history([])) == []
