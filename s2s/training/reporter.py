"""Reports on training: a live display on a terminal, plain lines elsewhere."""

import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from s2s.messages import is_quiet, printable, write_to
from s2s.training.objective import Validation
from s2s.training.state import Position

PLAIN_SECONDS = 15.0
"""Minimum seconds between two plain lines about updates."""


@dataclass(frozen=True)
class Window:
    """Averages over the updates since the last report."""

    smoothed: float
    """Minimized loss per token."""
    nll: float
    """Negative log-likelihood per token."""
    gradient_norm: float
    learning_rate: float
    tokens_per_second: float
    readout_deviation: float
    measures: dict[str, float] = field(default_factory=dict)
    """What the objective measures of pairs, averaged over them."""

    def as_json(self) -> dict[str, Any]:
        """For the log: without measures where there are none."""
        values = asdict(self)
        if not self.measures:
            del values["measures"]
        return values

    @property
    def loss(self) -> str:
        """The loss for a line of progress, with the reward where training is on a metric."""
        reward = self.measures.get("reward")
        return f"{self.nll:.3f}" + ("" if reward is None else f"  reward {reward:.3f}")


class Reporter(Protocol):
    """Receives the events of training; a context manager around it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def begin(self, position: Position, total_updates: int | None) -> None:
        """Training starts or resumes at `position`.

        The number of its updates is None while a budget has no plan.
        """

    def replanned(self, total_updates: int) -> None:
        """A budget allows another number of updates than was known before."""

    def update(self, position: Position, window: Window) -> None:
        """Some updates are done."""

    def validation(self, position: Position, validation: Validation, is_best: bool) -> None:
        """A validation is done."""

    def note(self, text: str) -> None:
        """A line for the user."""


def validation_line(position: Position, validation: Validation, is_best: bool) -> str:
    """One line about a validation."""
    scores = "  ".join(f"{s.name} {s.formatted}" for s in validation.scores.values)
    best = "  *best*" if is_best else ""
    minutes = position.seconds / 60
    where = f"epoch {position.current_epoch}  update {position.update}  {minutes:.1f} min"
    return f"{where}  validation loss {validation.nll:.3f}  {scores}{best}"


class SilentReporter:
    """Reports nothing, as in processes other than rank 0; the base of the other reporters."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See `Reporter`."""

    def begin(self, position: Position, total_updates: int | None) -> None:
        """See `Reporter`."""

    def replanned(self, total_updates: int) -> None:
        """See `Reporter`."""

    def update(self, position: Position, window: Window) -> None:
        """See `Reporter`."""

    def validation(self, position: Position, validation: Validation, is_best: bool) -> None:
        """See `Reporter`."""

    def note(self, text: str) -> None:
        """See `Reporter`."""


class PlainReporter(SilentReporter):
    """Lines on a stream that is not a terminal, such as a log file."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.total_updates: int | None = None
        self.last_line = -PLAIN_SECONDS

    def begin(self, position: Position, total_updates: int | None) -> None:
        """See `Reporter`."""
        self.total_updates = total_updates

    def replanned(self, total_updates: int) -> None:
        """See `Reporter`."""
        self.total_updates = total_updates

    def update(self, position: Position, window: Window) -> None:
        """See `Reporter`; at most one line in `PLAIN_SECONDS`."""
        now = time.monotonic()
        if now - self.last_line < PLAIN_SECONDS:
            return
        self.last_line = now
        # Epochs differ by a few batches, so that the total is one within a few updates.
        done, left = f"{position.update}", ""
        if self.total_updates is not None:
            updates = max(0, self.total_updates - position.update)
            minutes = updates * position.seconds / position.update / 60
            done, left = f"{done}/{self.total_updates}", f"  {minutes:.0f} min left"
        self.note(
            f"epoch {position.current_epoch}  update {done}  loss {window.loss}  "
            f"{window.tokens_per_second:,.0f} tokens/s  lr {window.learning_rate:.2g}{left}"
        )

    def validation(self, position: Position, validation: Validation, is_best: bool) -> None:
        """See `Reporter`."""
        self.note(validation_line(position, validation, is_best))

    def note(self, text: str) -> None:
        """See `Reporter`."""
        write_to(self.stream, printable(text) + "\n")


class LiveReporter(SilentReporter):
    """A progress bar at the bottom of the terminal; validations scroll above it."""

    def __init__(self, console: Console | None = None) -> None:
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:,}{task.fields[of]}"),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]} tok/s"),
            TextColumn("lr {task.fields[rate]}  best {task.fields[best]}"),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )
        self.task = TaskID(0)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def begin(self, position: Position, total_updates: int | None) -> None:
        """See `Reporter`."""
        self.task = self.progress.add_task(
            "train",
            total=total_updates,
            completed=position.update,
            of=_of(total_updates),
            epoch=position.current_epoch,
            loss="-",
            speed="-",
            rate="-",
            best=_format_score(position.best_score),
        )

    def replanned(self, total_updates: int) -> None:
        """See `Reporter`."""
        self.progress.update(self.task, total=total_updates, of=_of(total_updates))

    def update(self, position: Position, window: Window) -> None:
        """See `Reporter`."""
        self.progress.update(
            self.task,
            completed=position.update,
            epoch=position.current_epoch,
            loss=window.loss,
            speed=f"{window.tokens_per_second:,.0f}",
            rate=f"{window.learning_rate:.2g}",
        )

    def validation(self, position: Position, validation: Validation, is_best: bool) -> None:
        """See `Reporter`."""
        self.progress.update(self.task, best=_format_score(position.best_score))
        self.note(validation_line(position, validation, is_best))

    def note(self, text: str) -> None:
        """See `Reporter`."""
        self.progress.console.print(printable(text), highlight=False, markup=False)


def _of(total_updates: int | None) -> str:
    return "" if total_updates is None else f"/{total_updates:,}"


def _format_score(score: float | None) -> str:
    """A validation score for a reader: a loss was negated so that larger is better."""
    return "-" if score is None else f"{abs(score):.2f}"


def reporter() -> Reporter:
    """The live display where stderr is a terminal, else plain lines; nothing where silenced."""
    if is_quiet():
        return SilentReporter()
    return LiveReporter() if sys.stderr.isatty() else PlainReporter()
