"""The list of runs as text."""

from collections.abc import Sequence

from rich.cells import cell_len

from s2s.inference.attention.visible_tokens import visible_line
from s2s.recipe.metrics import format_value
from s2s.run.summary import RunSummary

HEAD = ("run", "task", "best validation", "minutes", "parameters", "MB", "when", "state")
RIGHT = frozenset({3, 4, 5})
"""Columns of numbers."""

GAP = "  "


def runs_table(runs: Sequence[RunSummary]) -> list[str]:
    """A line for each run below a line of headings; columns are as wide as their widest cell."""
    return align([HEAD, *map(_row, runs)], RIGHT)


def align(rows: Sequence[Sequence[str]], right: frozenset[int]) -> list[str]:
    """Rows in columns, those in `right` flush right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if number in right else cell + space)
        lines.append(GAP.join(cells).rstrip())
    return lines


def _row(run: RunSummary) -> tuple[str, ...]:
    score = "-"
    if run.score is not None and run.metric is not None:
        score = f"{run.metric} {format_value(run.metric, run.score)}"
    state = f"{run.state}: {run.reason}" if run.reason else run.state
    return (
        visible_line(run.name),
        run.task or "-",
        score,
        "-" if run.seconds is None else f"{run.seconds / 60:.1f}",
        short_count(run.parameters),
        f"{run.size / 1e6:.1f}",
        "-" if run.time is None else f"{run.time.astimezone():%Y-%m-%d %H:%M}",
        visible_line(state),
    )


def short_count(count: int | None) -> str:
    """A number of parameters: `870`, `12.3 k`, `1.2 M`."""
    if count is None:
        return "-"
    if count < 1000:
        return str(count)
    return f"{count / 1e3:.1f} k" if count < 1e6 - 50 else f"{count / 1e6:.1f} M"
