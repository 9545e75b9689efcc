"""What a metric says: a number and the signature that makes it comparable."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, in the metric's own unit."""

    mean: float
    """Its centre."""
    half_width: float
    """Its reach to either side."""


@dataclass(frozen=True)
class Score:
    """One figure."""

    name: str
    """What recipes call it: `bleu`, `chrf`, `exact`."""
    label: str
    """What readers call it: BLEU, chrF2, exact."""
    value: float
    """0 to 100, larger is better."""
    signature: str
    """How it was computed: scores with different signatures must not be compared."""
    interval: Interval | None = None
    """Where asked for."""

    def line(self) -> str:
        """For a reader."""
        between = ""
        if self.interval is not None:
            between = f" (μ = {self.interval.mean:.2f} ± {self.interval.half_width:.2f})"
        return f"{self.label} = {self.value:.2f}{between}  {self.signature}"


@dataclass(frozen=True)
class Scores:
    """Figures for the same texts, in the order they were asked for."""

    figures: tuple[Score, ...]

    def value(self, name: str) -> float:
        """The figure a recipe calls `name`; it must have been asked for."""
        return next(score.value for score in self.figures if score.name == name)

    def lines(self) -> list[str]:
        """For a reader, a line per figure."""
        return [score.line() for score in self.figures]

    def as_json(self) -> dict[str, Any]:
        """For a program: value and signature by name, mean and half width where there are any."""
        found: dict[str, Any] = {}
        for score in self.figures:
            found[score.name] = {"value": score.value, "signature": score.signature}
            if score.interval is not None:
                found[score.name]["mean"] = score.interval.mean
                found[score.name]["half_width"] = score.interval.half_width
        return found
