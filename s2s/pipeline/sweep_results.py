"""What is known of the settings of a sweep: a table for a reader, and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from s2s.errors import S2sError
from s2s.pipeline.averaging import ValidationScores
from s2s.pipeline.seed_means import SeedMean, rows_of, seed_means
from s2s.recipe.metrics import LOWER_IS_BETTER, format_value
from s2s.run.history import read_history
from s2s.run.summary import as_number, is_in_use

if TYPE_CHECKING:
    from s2s.run.directory import Run

State = Literal["finished", "begun", "in use", "failed", "waiting"]
"""`in use`: another process has the run."""

ORDER: tuple[State, ...] = ("finished", "begun", "in use", "failed", "waiting")


MEAN_NUMBERS = 5
"""Columns with numbers of the table of means."""


@dataclass(frozen=True, kw_only=True)
class SettingResult:
    """One setting and its run."""

    name: str
    """Name of the run."""
    folder: str
    values: dict[str, str]
    """The values of the varied fields, in YAML, by their dotted paths."""
    state: State = "waiting"
    best: ValidationScores | None = None
    """The results of the best checkpoint, by the recipe's `train.best`, so far."""
    chosen_by: str | None = None
    """That value."""
    update: int | None = None
    """The update of the best checkpoint."""
    minutes: float | None = None
    """The duration of training so far, without preparation."""
    parameters: int | None = None
    error: str | None = None
    """Why it failed; or, of one in use, who has it."""

    def score(self, metric: str) -> float | None:
        """A validation result of the best checkpoint; None where there is none."""
        if self.best is None:
            return None
        return self.best.nll if metric == "loss" else self.best.scores.get(metric)

    @property
    def reason(self) -> str:
        """The error on one line, without the run's folder in front."""
        return " ".join((self.error or "").split()).removeprefix(f"{self.folder}: ")

    def as_json(self, metric: str) -> dict[str, Any]:
        """The setting as a JSON object."""
        loss = None if self.best is None else self.best.nll
        return {
            "name": self.name,
            "folder": self.folder,
            "values": self.values,
            "state": self.state,
            "score": self.score(metric),
            "loss": loss,
            "scores": {} if self.best is None else self.best.scores,
            "update": self.update,
            "minutes": None if self.minutes is None else round(self.minutes, 3),
            "parameters": self.parameters,
            "error": self.reason or None,
        }


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All settings of a sweep."""

    metric: str
    """The value that ranks settings."""
    settings: tuple[SettingResult, ...]
    """In the order in which they train."""

    def count(self, state: State) -> int:
        """The number of settings in a state."""
        return sum(one.state == state for one in self.settings)

    def ranked(self) -> list[SettingResult]:
        """The best first: finished ones, by score and then loss, before others."""

        def cost(one: SettingResult, name: str) -> float:
            value = one.score(name)
            if value is None or not math.isfinite(value):
                return math.inf
            return value if name in LOWER_IS_BETTER else -value

        def place(one: SettingResult) -> tuple[float, ...]:
            return ORDER.index(one.state), cost(one, self.metric), cost(one, "loss")

        return sorted(self.settings, key=place)

    def lines(self, *, is_brief: bool = False) -> list[str]:
        """A table, then a line for each setting that failed; a brief one leaves out these and the
        settings that wait."""
        paths = tuple(dict.fromkeys(path for one in self.settings for path in one.values))
        scores = [self.metric] if self.metric == "loss" else [self.metric, "loss"]
        head = [*scores, "min", "parameters", *map(_short, paths), "run"]
        rows = [head]
        for one in self.ranked():
            if is_brief and one.state == "waiting":
                continue
            state = "" if one.state == "finished" else f" ({one.state})"
            rows.append(
                [
                    *(_number(one.score(name), name) for name in scores),
                    "-" if one.minutes is None else f"{one.minutes:.1f}",
                    "-" if one.parameters is None else f"{one.parameters:,}",
                    *(one.values.get(path, "-") for path in paths),
                    one.folder + state,
                ]
            )
        numbers = len(scores) + 2
        failed = [one for one in self.settings if one.state == "failed" and not is_brief]
        waiting = self.count("waiting")
        means = [] if is_brief else self.seed_means()
        names = {path: _short(path) for path in paths}
        averaged = _aligned(rows_of(means, self.metric, names), MEAN_NUMBERS)
        return [
            *_aligned(rows, numbers),
            *(["", *averaged] if averaged else []),
            *(f"{one.folder}: failed: {one.reason}" for one in failed),
            *([f"{waiting} of {len(self.settings)} wait"] if is_brief and waiting else []),
        ]

    def seed_means(self) -> list[SeedMean]:
        """The means over seeds; none where no setting has several finished seeds."""
        return seed_means(self.settings, self.metric)

    def as_json(self) -> dict[str, Any]:
        """The sweep as a JSON object, the best setting first."""
        settings = [one.as_json(self.metric) for one in self.ranked()]
        means = [one.as_json() for one in self.seed_means()]
        return {"metric": self.metric, "settings": settings, "seed_means": means}


def results_of(run: Run) -> dict[str, Any]:
    """The fields of a `SettingResult` that the log of a run has."""
    history = read_history(run.read_events())
    is_used = is_in_use(run.folder)
    if not history.starts or history.last is None:
        return {"state": "in use" if is_used else "waiting"}
    is_finished = history.last.get("event") == "end"
    try:
        best, chosen_by = run.checkpoints().best, run.recipe.train.best
    except S2sError:  # damaged: its training says so
        best, chosen_by = None, None
    at_best = [
        event
        for event in history.validation
        if event["update"] == best and event.get("nll") is not None
    ]
    return {
        "state": "finished" if is_finished else "in use" if is_used else "begun",
        "parameters": history.starts[-1].get("parameters"),
        "minutes": (as_number(history.last.get("seconds")) or 0.0) / 60,
        "update": best,
        "best": ValidationScores.of_event(at_best[-1]) if at_best else None,
        "chosen_by": chosen_by,
    }


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def _number(value: float | None, name: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if name == "loss" else format_value(name, value)


def _aligned(rows: Sequence[Sequence[str]], numbers: int) -> list[str]:
    """Rows as lines; the first `numbers` columns are aligned right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if place < numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
