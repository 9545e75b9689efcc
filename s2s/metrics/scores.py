"""Scores: a metric's values with the signatures that make them comparable."""

from dataclasses import dataclass
from typing import Any

from s2s.recipe.metrics import LOWER_IS_BETTER, format_value


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, in the metric's own unit."""

    mean: float
    """Centre: the mean of the resamples, as sacrebleu prints it."""
    half_width: float
    """Half of its width."""


@dataclass(frozen=True)
class Score:
    """One value of a metric, with its signature."""

    name: str
    """Key in recipes, logs and JSON: `bleu`, `rougeL`, `cer`."""
    label: str
    """Name in printed scores: BLEU, ROUGE-L, CER."""
    value: float
    """0 to 100 for a share; error rates may exceed 100, and CIDEr-D is up to 1000."""
    signature: str
    """How it was computed: scores with different signatures must not be compared."""
    interval: Interval | None = None
    """The confidence interval, if requested."""

    @property
    def is_lower_better(self) -> bool:
        """Whether it counts errors."""
        return self.name in LOWER_IS_BETTER

    @property
    def formatted(self) -> str:
        """The value as printed."""
        return format_value(self.name, self.value)

    def line(self) -> str:
        """One line of text."""
        between = ""
        if self.interval is not None:
            between = f" (μ = {self.interval.mean:.2f} ± {self.interval.half_width:.2f})"
        return f"{self.label} = {self.formatted}{between}  {self.signature}"

    def as_json(self) -> dict[str, Any]:
        """JSON: value and signature, and mean and half width of an interval."""
        found: dict[str, Any] = {"value": self.value, "signature": self.signature}
        if self.interval is not None:
            found["mean"] = self.interval.mean
            found["half_width"] = self.interval.half_width
        return found


@dataclass(frozen=True)
class Scores:
    """Scores of the same texts, in the order of the request."""

    values: tuple[Score, ...]
    blank_hypotheses: int = 0
    """Number of output lines without text; they are scored like all others."""
    blank_references: int = 0
    """Number of lines one of whose references has no text."""

    def __getitem__(self, name: str) -> Score:
        """The score of this name, such as `bleu`; raises KeyError with the names that there are."""
        for score in self.values:
            if score.name == name:
                return score
        raise KeyError(f"{name}: there are {', '.join(score.name for score in self.values)}")

    def value(self, name: str) -> float:
        """The value called `name`, which must be among them."""
        return next(score.value for score in self.values if score.name == name)

    def lines(self) -> list[str]:
        """One line of text per score."""
        return [score.line() for score in self.values]

    def as_json(self) -> dict[str, Any]:
        """JSON: value and signature by name, and mean and half width of intervals."""
        return {score.name: score.as_json() for score in self.values}
