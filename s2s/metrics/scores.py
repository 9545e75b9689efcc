"""What a metric says: a number and the signature that makes it comparable."""

from dataclasses import dataclass
from typing import Any

from s2s.recipe.metrics import LOWER_IS_BETTER, shown


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, in the metric's own unit."""

    mean: float
    """Its centre: the mean of the resamples, as sacrebleu prints it."""
    half_width: float
    """Its reach to either side."""


@dataclass(frozen=True)
class Score:
    """One figure."""

    name: str
    """What recipes call it: `bleu`, `rougeL`, `cer`."""
    label: str
    """What readers call it: BLEU, ROUGE-L, CER."""
    value: float
    """0 to 100 where it is a share; error rates may be above, and CIDEr-D is up to 1000."""
    signature: str
    """How it was computed: scores with different signatures must not be compared."""
    interval: Interval | None = None
    """Where asked for."""

    @property
    def is_lower_better(self) -> bool:
        """Whether it counts what is wrong."""
        return self.name in LOWER_IS_BETTER

    @property
    def shown(self) -> str:
        """The value for a reader."""
        return shown(self.name, self.value)

    def line(self) -> str:
        """For a reader."""
        between = ""
        if self.interval is not None:
            between = f" (μ = {self.interval.mean:.2f} ± {self.interval.half_width:.2f})"
        return f"{self.label} = {self.shown}{between}  {self.signature}"

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        found: dict[str, Any] = {"value": self.value, "signature": self.signature}
        if self.interval is not None:
            found["mean"] = self.interval.mean
            found["half_width"] = self.interval.half_width
        return found


@dataclass(frozen=True)
class Scores:
    """Figures for the same texts, in the order they were asked for."""

    figures: tuple[Score, ...]
    blank_hypotheses: int = 0
    """Lines of output without text: scored like all others, but worth knowing."""
    blank_references: int = 0
    """Items one of whose references has no text."""

    def value(self, name: str) -> float:
        """The figure a recipe calls `name`; it must have been asked for."""
        return next(score.value for score in self.figures if score.name == name)

    def lines(self) -> list[str]:
        """For a reader, a line per figure."""
        return [score.line() for score in self.figures]

    def as_json(self) -> dict[str, Any]:
        """For a program: value and signature by name, mean and half width where there are any."""
        return {score.name: score.as_json() for score in self.figures}
