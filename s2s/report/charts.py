"""Charts of a training: which curves there are, and their points."""

from collections.abc import Sequence
from dataclasses import dataclass

from s2s.recipe.metrics import METRICS
from s2s.report.outputs import Outputs
from s2s.run.history import Event, History
from s2s.run.summary import as_number

MOST_POINTS = 500
"""Most points of a curve; more would not be visible. Longer ones show averages of neighbours."""

LABELS = {value.name: value.label for entry in METRICS.values() for value in entry.values}

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Points joined by a line."""

    label: str
    points: tuple[Point, ...]
    """In the order of x."""
    has_marks: bool = False
    """Whether each point is marked: there are few."""


@dataclass(frozen=True)
class Mark:
    """A vertical line."""

    x: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A point with an interval, above a label."""

    label: str
    value: float
    low: float
    high: float
    note: str


@dataclass(frozen=True)
class Chart:
    """Curves over the updates of a training, or bars."""

    title: str
    x_label: str
    curves: tuple[Curve, ...] = ()
    marks: tuple[Mark, ...] = ()
    bars: tuple[Bar, ...] = ()
    digits: int = 3
    """Significant digits of values in text."""


def training_charts(history: History) -> list[Chart]:
    """The curves of a training; a chart without points is left out."""
    marks = _marks(history)
    updates, validations = history.update, history.validation
    charts = [
        Chart(
            "Loss (negative log-likelihood per token)",
            "update",
            (
                _curve("training", updates, "nll"),
                _curve("training, as minimized", updates, "smoothed"),
                _curve("validation", validations, "nll", has_marks=True),
            ),
            marks,
        ),
        *(
            Chart(
                f"{LABELS.get(name, name)} on validation",
                "update",
                (_score_curve(name, validations),),
                marks,
                digits=4,
            )
            for name in _score_names(validations)
        ),
        Chart(
            "Learning rate", "update", (_curve("learning rate", updates, "learning_rate"),), marks
        ),
        Chart("Norm of the gradient", "update", (_curve("all", updates, "gradient_norm"),), marks),
        Chart(
            "Tokens per second", "update", (_curve("speed", updates, "tokens_per_second"),), marks
        ),
    ]
    return [kept for chart in charts if (kept := _with_points(chart)) is not None]


def part_norms(history: History) -> Chart | None:
    """The norms of the gradient by part of the model."""
    names: dict[str, list[Point]] = {}
    for event in history.gradients:
        norms = event.get("norms")
        for name, norm in norms.items() if isinstance(norms, dict) else ():
            value = as_number(norm)
            if value is not None:
                names.setdefault(name, []).append((event["update"], value))
    curves = tuple(Curve(name, thinned(points)) for name, points in names.items())
    chart = Chart("Norm of the gradient by part of the model", "update", curves, _marks(history))
    return _with_points(chart)


def length_chart(outputs: Outputs) -> Chart | None:
    """The score by source length."""
    if not outputs.bins:
        return None
    bars = tuple(
        Bar(
            str(one.first) if one.first == one.last else f"{one.first}–{one.last}",
            one.value,
            one.low,
            one.high,
            f"{one.count:,} lines",
        )
        for one in outputs.bins
    )
    return Chart(f"{outputs.bin_score} by source length", "source tokens", bars=bars, digits=4)


def thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    """At most `MOST_POINTS` points; each is the mean of as many neighbours, the last of fewer."""
    size = -(-len(points) // MOST_POINTS) if points else 1
    if size == 1:
        return tuple(points)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple(
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    )


def _curve(label: str, events: Sequence[Event], field: str, *, has_marks: bool = False) -> Curve:
    found = [
        (float(event["update"]), value)
        for event in events
        if (value := as_number(event.get(field))) is not None
    ]
    return Curve(label, thinned(found), has_marks and len(found) <= MOST_POINTS)


def _score_names(validations: Sequence[Event]) -> list[str]:
    """The names of all scores of the validations."""
    return list(
        dict.fromkeys(
            name
            for event in validations
            if isinstance(event.get("scores"), dict)
            for name in event["scores"]
        )
    )


def _score_curve(name: str, validations: Sequence[Event]) -> Curve:
    found = []
    for event in validations:
        scores = event.get("scores")
        score = scores.get(name) if isinstance(scores, dict) else None
        value = as_number(score.get("value")) if isinstance(score, dict) else None
        if value is not None:
            found.append((float(event["update"]), value))
    return Curve(LABELS.get(name, name), thinned(found), has_marks=len(found) <= MOST_POINTS)


def _marks(history: History) -> tuple[Mark, ...]:
    marks = [Mark(update, "resumed") for update in history.resumed_at]
    best = history.best_validation()
    if best is not None:
        marks.append(Mark(best["update"], "best"))
    return tuple(marks)


def _with_points(chart: Chart) -> Chart | None:
    """The chart without empty curves; None if it has no other."""
    curves = tuple(curve for curve in chart.curves if curve.points)
    if not curves:
        return None
    return Chart(chart.title, chart.x_label, curves, chart.marks, digits=chart.digits)
