"""Charts as SVG inside a page: axes, curves, and the numbers that hovering shows.

All text passes through `Markup.format`, which escapes it. Colours and fonts are the page's.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from s2s.report.charts import Chart, Curve

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 44
"""Margins around the curves."""

COLOURS = 8
"""Colours of the page's style sheet; with more curves they come again, dashed."""


@dataclass(frozen=True)
class Scale:
    """A linear map from values to places."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers at equal distances, the outermost ones at the bounds or beyond.

    Their distance is 1, 2, 2.5 or 5 times a power of ten.
    """
    if not high > low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def number_text(value: float, digits: int = 3) -> str:
    """A number with so many significant digits: `12,000`, `0.25`, `3e-05`."""
    if value == 0:
        return "0"
    if abs(value) >= 10**digits and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def svg(chart: Chart) -> Markup:
    """The chart."""
    return _bars(chart) if chart.bars else _curves(chart)


def _curves(chart: Chart) -> Markup:
    xs = [x for curve in chart.curves for x, _ in curve.points]
    ys = [y for curve in chart.curves for _, y in curve.points]
    x_ticks, y_ticks = ticks(min(0.0, *xs), max(xs)), ticks(min(ys), max(ys))
    # The curves end where the data end: half of the last distance would often be empty.
    x_scale = Scale(x_ticks[0], max(*xs, x_ticks[0] + 1e-9), LEFT, WIDTH - RIGHT)
    y_scale = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    shown = [(x_scale(x), number_text(x, 4)) for x in x_ticks if x <= x_scale.high]
    parts = [_axes(shown, y_ticks, y_scale, chart.x_label)]
    parts += [
        Markup(
            '<g class="mark"><line x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<text x="{3}" y="{4}" text-anchor="{5}">{6}</text></g>'
        ).format(x, TOP, HEIGHT - BOTTOM, *_beside(x), mark.label)
        for mark in chart.marks
        if x_scale.low <= mark.x <= x_scale.high
        for x in (x_scale(mark.x),)
    ]
    parts += [_curve(curve, number, x_scale, y_scale) for number, curve in enumerate(chart.curves)]
    curves = [
        {
            "label": curve.label,
            "points": [
                [
                    x_scale(x),
                    y_scale(y),
                    number_text(round(x), 15),
                    number_text(y, chart.digits + 1),
                ]
                for x, y in curve.points
            ],
        }
        for curve in chart.curves
    ]
    return _figure(chart, parts, json.dumps(curves, ensure_ascii=False))


def _beside(x: float) -> tuple[float, float, str]:
    """Place and alignment of a mark's label: on the side that has room."""
    is_left = x > WIDTH / 2
    return (x - 4 if is_left else x + 4, TOP + 9, "end" if is_left else "start")


def _curve(curve: Curve, number: int, x_scale: Scale, y_scale: Scale) -> Markup:
    places = [(x_scale(x), y_scale(y)) for x, y in curve.points]
    path = " ".join(f"{x:g},{y:g}" for x, y in places)
    marks = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="2.5"/>').format(x, y)
        for x, y in (places if curve.has_marks or len(places) == 1 else ())
    )
    return Markup('<g class="{}"><polyline points="{}"/>{}</g>').format(
        colour_class(number), path, marks
    )


def colour_class(number: int) -> str:
    """The classes of curve number `number`, from 0."""
    again = " again" if number >= COLOURS else ""
    return f"curve c{number % COLOURS}{again}"


def _bars(chart: Chart) -> Markup:
    lows, highs = [bar.low for bar in chart.bars], [bar.high for bar in chart.bars]
    y_ticks = ticks(min(lows), max(highs))
    y_scale = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    step = (WIDTH - RIGHT - LEFT) / len(chart.bars)
    places = [round(LEFT + (number + 0.5) * step, 2) for number in range(len(chart.bars))]
    shown = [(x, bar.label) for x, bar in zip(places, chart.bars, strict=True)]
    parts = [_axes(shown, y_ticks, y_scale, chart.x_label)]
    points = []
    for x, bar in zip(places, chart.bars, strict=True):
        y, low, high = y_scale(bar.value), y_scale(bar.low), y_scale(bar.high)
        parts.append(
            Markup(
                '<g class="curve c0"><path d="M{0} {1}V{2}M{3} {1}h12M{3} {2}h12"/>'
                '<circle cx="{0}" cy="{4}" r="4"/></g>'
            ).format(x, low, high, x - 6, y)
        )
        text = [number_text(value, chart.digits) for value in (bar.value, bar.low, bar.high)]
        points.append([x, y, bar.label, f"{text[0]} ({text[1]} to {text[2]}), {bar.note}"])
    curves = [{"label": "", "points": points}]
    return _figure(chart, parts, json.dumps(curves, ensure_ascii=False))


def _axes(
    x_places: Iterable[tuple[float, str]], y_ticks: Sequence[float], y_scale: Scale, x_label: str
) -> Markup:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    digits = _digits(y_ticks)
    lines = [
        Markup(
            '<line x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
            '<text x="{3}" y="{2}" dy=".32em" text-anchor="end">{4}</text>'
        ).format(LEFT, right, y_scale(value), LEFT - 7, number_text(_clean(value), digits))
        for value in y_ticks
    ]
    lines += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x, bottom + 16, text)
        for x, text in x_places
    ]
    lines.append(
        Markup('<text class="name" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (LEFT + right) / 2, HEIGHT - 8, x_label
        )
    )
    return Markup('<g class="axes">{}</g>').format(Markup("").join(lines))


def _digits(values: Sequence[float]) -> int:
    """Significant digits with which all ticks differ."""
    for digits in range(2, 10):
        if len({number_text(_clean(value), digits) for value in values}) == len(values):
            return digits
    return 10


def _clean(value: float) -> float:
    """The value without the rounding errors of multiplication."""
    return float(f"{value:.12g}")


def _figure(chart: Chart, parts: Sequence[Markup], curves: str) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" data-curves="{}" data-x="{}">{}'
        '<g class="cursor" visibility="hidden"><line y1="{}" y2="{}"/></g></svg>'
    ).format(
        WIDTH,
        HEIGHT,
        chart.title,
        curves,
        chart.x_label,
        Markup("").join(parts),
        TOP,
        HEIGHT - BOTTOM,
    )
