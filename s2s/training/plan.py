"""The plan of a training: how many updates it makes, when it validates, and when it ends.

With `train.budget` the number of updates follows from their speed. The first updates are measured,
and later ones correct the number if it is off by more than `TOLERANCE`: a cosine schedule ends on
time, also where the speed of the machine changes. The number is part of the saved position, so a
resumed training continues with it.
"""

import math

from s2s.recipe.train import Train
from s2s.training.state import Position

TOLERANCE = 0.03
"""Relative change of the number of updates below which the plan stays."""

FIRST_PLANS = (1, 2, 4, 8, 16, 32)
"""Updates after which a training whose updates take long can have its first plan."""

VALIDATIONS = 20
"""Validations of a training with a budget that has time for enough updates."""

FEWEST_BETWEEN = 20
"""Updates between its validations, which would take most of a short one's time otherwise."""


class TrainingPlan:
    """The number of updates of a training, of which an epoch has `per_epoch`."""

    def __init__(self, recipe: Train, position: Position, per_epoch: int) -> None:
        self.recipe = recipe
        self.position = position
        # Computed from the first epoch: epochs differ by a few batches, and a resumed training
        # needs the same number.
        most = per_epoch * recipe.epochs
        self.most_updates = min(most, recipe.max_updates or most)

    @property
    def total_updates(self) -> int:
        """Updates of the whole training, as far as is known."""
        planned = self.position.planned_updates
        return self.most_updates if planned is None else min(planned, self.most_updates)

    @property
    def known_updates(self) -> int | None:
        """The same; None while a budget has no plan yet, which the first updates give it."""
        is_open = self.recipe.budget is not None and self.position.planned_updates is None
        return None if is_open else self.total_updates

    def revise(self, seconds: float) -> bool:
        """Plan for the speed so far; whether the number of updates has changed.

        `seconds` is the time of all updates and validations so far, equal in all processes.
        """
        budget, position = self.recipe.budget_seconds, self.position
        if budget is None or position.update == 0:
            return False
        if position.update in FIRST_PLANS and seconds < budget / VALIDATIONS:
            return False
        left = max(0.0, budget - seconds) * position.update / max(seconds, 1e-9)
        planned = position.update + math.floor(left)
        change = min(planned, self.most_updates) - self.total_updates
        if position.planned_updates is not None and abs(change) <= TOLERANCE * self.total_updates:
            return False
        position.planned_updates = planned
        return True

    def is_validation_due(self, *, epoch_ended: bool) -> bool:
        """Whether the update that was just made is followed by a validation."""
        every, position = self.recipe.validate_every, self.position
        if every is not None:
            return position.update % every == 0
        if self.recipe.budget is None:
            return epoch_ended
        if position.planned_updates is None:
            return False
        since = position.update - position.validated_update
        return since >= max(FEWEST_BETWEEN, math.ceil(self.total_updates / VALIDATIONS))


def end_reason(position: Position, recipe: Train) -> str | None:
    """Why training has ended; None while it has not.

    Computed again when a run is resumed: with more epochs, updates or patience in its recipe, an
    ended training continues.
    """
    if position.epoch >= recipe.epochs:
        return "all epochs are done"
    if recipe.max_updates is not None and position.update >= recipe.max_updates:
        return "all updates are done"
    planned = position.planned_updates
    if recipe.budget is not None and planned is not None and position.update >= planned:
        return f"the budget of {recipe.budget} is used"
    if recipe.patience is not None and position.stale >= recipe.patience:
        return f"no improvement in {position.stale} validations"
    return None
