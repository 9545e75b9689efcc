"""The events of a training as one course, without those that a resumed training has made void."""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from s2s.files import parse_json

Event = dict[str, Any]

OF_UPDATES = ("update", "gradients", "validation")

LONGEST_EVENT = 1 << 22
"""The most bytes of a line of a log."""

WHOLE = ("update", "epoch", "tokens", "processes", "parameters", "total_updates")
NUMBERS = ("seconds", "nll")
TEXTS = ("event", "time", "precision", "device", "reason", "split", "what")
SECTIONS = ("scores", "memory", "norms", "versions")
"""Fields of events by their type; each may be missing or null."""


def event_line(event: Mapping[str, Any]) -> str:
    """The line of an event, with the time of now; NaN and infinities become null."""
    stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
    return json.dumps(_finite(stamped), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


def parse_event(line: bytes) -> Event | None:
    """The event of a line of `metrics.jsonl`; None for a line that is incomplete or damaged: no
    object, without its kind, or with a field of another type."""
    if len(line) > LONGEST_EVENT:
        return None
    with suppress(ValueError):
        event = parse_json(line)
        if isinstance(event, dict) and isinstance(event.get("event"), str) and _is_sound(event):
            return event
    return None


def _is_sound(event: Event) -> bool:
    """Whether the fields that are there have their types. Those of an evaluation are only shown."""
    if event["event"] == "evaluation":
        return True
    if event["event"] in ("start", *OF_UPDATES) and event.get("update") is None:
        return False
    return (
        all(_is(event, name, str) for name in TEXTS)
        and all(_is(event, name, dict) for name in SECTIONS)
        and all(_is(event, n, int) and 0 <= (event.get(n) or 0) < 2**63 for n in WHOLE)
        and all(_is(event, n, int | float) and _is_number(event.get(n) or 0) for n in NUMBERS)
        and (event["event"] != "validation" or has_scores(event))
    )


def has_scores(event: Event) -> bool:
    """Whether each score of a validation or an evaluation has a number or null as its value."""
    scores = event.get("scores")
    return isinstance(scores, dict) and all(map(_is_score, scores.values()))


def _is(event: Event, name: str, kind: Any) -> bool:
    value = event.get(name)
    return value is None or (isinstance(value, kind) and not isinstance(value, bool))


def _is_score(score: object) -> bool:
    if not isinstance(score, dict) or "value" not in score:
        return False
    return _is(score, "value", int | float) and _is_number(score["value"] or 0)


def _is_number(value: Any) -> bool:
    return bool(abs(value) <= _LARGEST)  # also without OverflowError for a huge integer


_LARGEST = math.ldexp(1.0, 1000)


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
    best: int | None = None
    """The update of the best checkpoint, where the run's index is known: another `train.best` may
    have chosen it after the events were written."""

    @property
    def resumed_at(self) -> list[int]:
        """The updates at which training resumed."""
        return [event["update"] for event in self.starts if event["update"] > 0]

    def best_validation(self) -> Event | None:
        """The validation of the best checkpoint; without an index, the last that was the best when
        it was logged."""
        chosen = [e for e in self.validation if e["update"] == self.best]
        noted = [e for e in self.validation if e.get("is_best") is True]
        return next(reversed(chosen or noted), None)


def read_history(events: Iterable[Event], best: int | None = None) -> History:
    """The course of a training from its log; `best` is the update of its best checkpoint.

    A training that resumes at an update goes through later ones again: the earlier events of those
    are left out. So are events without a whole number as their update.
    """
    found = History(best=best)
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
