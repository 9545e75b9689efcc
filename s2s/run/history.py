"""The events of a training as one course, without those that a resumed training has made void."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]

OF_UPDATES = ("update", "gradients", "validation")


@dataclass
class History:
    """The events of a run, each kind in order."""

    starts: list[Event] = field(default_factory=list)
    update: list[Event] = field(default_factory=list)
    """Averages over some updates."""
    gradients: list[Event] = field(default_factory=list)
    validation: list[Event] = field(default_factory=list)
    evaluation: list[Event] = field(default_factory=list)
    """Scores that `s2s evaluate` and its like have logged."""
    last: Event | None = None
    """The last event that is no evaluation."""

    @property
    def resumed_at(self) -> list[int]:
        """The updates at which training resumed."""
        return [event["update"] for event in self.starts if event["update"] > 0]

    def best_validation(self) -> Event | None:
        """The validation of the best checkpoint."""
        return next((e for e in reversed(self.validation) if e.get("is_best") is True), None)


def read_history(events: Iterable[Event]) -> History:
    """The course of a training from its log.

    A training that resumes at an update goes through later ones again: the earlier events of those
    are left out. So are events without a whole number as their update.
    """
    found = History()
    for event in events:
        kind = event.get("event")
        if kind == "evaluation":
            found.evaluation.append(event)
            continue
        update = event.get("update")
        if not isinstance(update, int) or isinstance(update, bool):
            continue
        found.last = event
        if kind == "start":
            _forget_after(found, update)
            found.starts.append(event)
        elif kind in OF_UPDATES:
            getattr(found, str(kind)).append(event)
    return found


def _forget_after(found: History, update: int) -> None:
    for kind in OF_UPDATES:
        kept = [event for event in getattr(found, kind) if event["update"] <= update]
        setattr(found, kind, kept)
