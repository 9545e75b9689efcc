"""A reporter that also informs trackers. A tracker that fails is left out, with one warning."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from s2s.errors import Interrupted
from s2s.recipe.choices import TrackerName
from s2s.training.objective import Validation
from s2s.training.reporter import Reporter, Window
from s2s.training.state import Position
from s2s.training.trackers.base import Outcome, Tracked, Tracker
from s2s.training.trackers.build import build_tracker


@dataclass(frozen=True, kw_only=True)
class Following:
    """The trackers that a recipe names, and the run that they follow."""

    names: Sequence[TrackerName]
    tracked: Callable[[int], Tracked]
    """The training as trackers see it, from the update at which it begins."""


class TrackingReporter:
    """Passes everything on to another reporter, and the numbers to trackers."""

    def __init__(self, inner: Reporter, following: Following) -> None:
        self.inner = inner
        self.following = following
        self.trackers: dict[TrackerName, Tracker] = {}

    def __enter__(self) -> Self:
        self.inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        outcome: Outcome = "finished"
        if error is not None:
            is_stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            outcome = "interrupted" if is_stopped else "failed"
        try:
            for name, tracker in list(self.trackers.items()):
                self._try(name, partial(tracker.close, outcome))
        finally:
            self.inner.__exit__(kind, error, trace)

    def begin(self, position: Position, total_updates: int | None) -> None:
        """See `Reporter`; opens the trackers."""
        self.inner.begin(position, total_updates)
        for name in self.following.names:
            self._try(name, partial(self._open, name, position.update))

    def replanned(self, total_updates: int) -> None:
        """See `Reporter`."""
        self.inner.replanned(total_updates)

    def update(self, position: Position, window: Window) -> None:
        """See `Reporter`."""
        self.inner.update(position, window)
        self._log(
            {
                "train/loss": window.smoothed,
                "train/nll": window.nll,
                "train/gradient_norm": window.gradient_norm,
                "train/learning_rate": window.learning_rate,
                "train/tokens_per_second": window.tokens_per_second,
                "train/epoch": float(position.current_epoch),
                "train/minutes": position.seconds / 60,
                **{f"train/{name}": value for name, value in window.measures.items()},
            },
            position.update,
        )

    def validation(self, position: Position, validation: Validation, is_best: bool) -> None:
        """See `Reporter`."""
        self.inner.validation(position, validation, is_best)
        scores = {f"validation/{one.name}": one.value for one in validation.scores.values}
        own = {"validation/nll": validation.nll, "validation/perplexity": validation.perplexity}
        self._log({**own, **scores}, position.update)

    def note(self, text: str) -> None:
        """See `Reporter`."""
        self.inner.note(text)

    def _open(self, name: TrackerName, update: int) -> None:
        self.trackers[name] = build_tracker(name, self.following.tracked(update))

    def _log(self, values: dict[str, float], update: int) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for name, tracker in list(self.trackers.items()):
            self._try(name, partial(tracker.log, finite, update))

    def _try(self, name: TrackerName, call: Callable[[], None]) -> None:
        """Call a tracker; leave it out from now on if it fails."""
        try:
            call()
        except Exception as error:  # whatever a package or its server does
            self.trackers.pop(name, None)
            reason = " ".join(str(error).split()) or "no reason given"
            self.inner.note(
                f"warning: {name} failed ({type(error).__name__}: {reason[:300]}); training goes "
                "on without it"
            )
