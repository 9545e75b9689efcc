"""The best checkpoint by another score than the one that training chose by.

The log has all scores of all validations, so `train.best` may change after training has begun: the
best of the checkpoints that are still there is chosen anew.
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from s2s.errors import UsageError
from s2s.messages import note
from s2s.recipe.metrics import LOWER_IS_BETTER
from s2s.run.checkpoints import Checkpoints
from s2s.run.history import read_history


class Best(NamedTuple):
    """A validation, as training would have noted it as the best."""

    update: int
    score: float
    """Larger is better: a loss is negated."""


def best_of(
    name: str, events: Iterable[dict[str, Any]], steps: Collection[int]
) -> tuple[Best | None, str | None]:
    """The best validation by the score `name` among those whose checkpoint is in `steps`, and a
    note where one without a checkpoint was better; the loss decides between equals.

    Raises UsageError for a score that the log does not have.
    """
    found: list[tuple[float, float, int]] = []
    for event in read_history(events).validation:
        try:
            value = float(event["nll"] if name == "loss" else event["scores"][name]["value"])
            loss = float(event["nll"])
        except (KeyError, TypeError, ValueError):
            has = event.get("scores")
            known = ", ".join(("loss", *(has if isinstance(has, dict) else ())))
            raise UsageError(
                f"train.best {name}: the validations so far did not compute it, so they cannot "
                f"choose the best checkpoint by it; they have {known}; --restart starts over"
            ) from None
        found.append((-value if name in LOWER_IS_BETTER else value, -loss, -event["update"]))
    there = [one for one in found if -one[2] in steps]
    if not there:
        return None, None
    best, best_of_all = max(there), max(found)
    told = None
    if best_of_all[:2] > best[:2]:
        told = (
            f"update {-best_of_all[2]} had a better {name}, but its checkpoint is gone; of those "
            f"that are there update {-best[2]} is the best"
        )
    return Best(-best[2], best[0]), told


def choose_best(checkpoints: Checkpoints, name: str, events: Iterable[dict[str, Any]]) -> None:
    """Let the score `name` choose the best checkpoint of those that are there.

    Raises UsageError for a score that the log does not have, OSError where the disk refuses.
    """
    best, told = best_of(name, events, checkpoints.steps())
    if told is not None:
        note(f"{checkpoints.run_folder}: {told}")
    if best is not None:
        checkpoints.choose_best(best.update, best.score)
