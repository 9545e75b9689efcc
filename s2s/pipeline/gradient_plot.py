"""A picture of `s2s inspect gradients`. Needs matplotlib, of the optional extra `plots`."""

from __future__ import annotations

import io
from importlib.util import find_spec

from s2s.errors import UsageError
from s2s.pipeline.gradients import GradientReport

STYLES = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
"""Markers, so that curves differ in more than colour."""


def check_plots() -> None:
    """Raise UsageError where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        raise UsageError("--png needs matplotlib: pip install matplotlib; --json needs nothing")


def draw_gradients(report: GradientReport) -> bytes:
    """A PNG file: what is left of each curve's norm, on a logarithmic scale, over the lag."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for place, curve in enumerate(report.curves):
        # A logarithmic scale has no place for what has vanished altogether.
        points = [(lag, share) for lag, share in enumerate(curve.relative) if share > 0]
        style = "-" if curve.trained else "--"
        marker = STYLES[place % len(STYLES)]
        axes.plot(*zip(*points, strict=True), style, marker=marker, ms=4, label=curve.name)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("lag k: steps back")
    loss = r"\partial\,loss_t" if report.side == "decoder" else r"\partial\,loss"
    axes.set_ylabel(rf"$\|{loss}/\partial m_{{t-k}}\|\ \ /\ \ \|{loss}/\partial m_t\|$")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    axes.set_title(f"Gradients through the {report.side}'s first layer", fontsize=11)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()
