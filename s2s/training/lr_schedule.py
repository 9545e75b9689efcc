"""Learning-rate schedules."""

import math
from typing import assert_never

from s2s.recipe.train import (
    ConstantSchedule,
    CosineSchedule,
    InverseSqrtSchedule,
    PlateauSchedule,
    Schedule,
)


def learning_rate_factor(
    schedule: Schedule, update: int, total_updates: int, plateaus: int = 0
) -> float:
    """The factor of the peak learning rate at `update`, counted from 1.

    `total_updates` is where a cosine ends; `plateaus` counts the reductions of a plateau schedule.
    """
    warmup = schedule.warmup
    if update <= warmup:
        return update / warmup
    match schedule:
        case ConstantSchedule():
            return 1.0
        case InverseSqrtSchedule():
            return math.sqrt(warmup / update)
        case CosineSchedule():
            done = min(1.0, (update - warmup) / max(1, total_updates - warmup))
            return schedule.floor + (1.0 - schedule.floor) * 0.5 * (1.0 + math.cos(math.pi * done))
        case PlateauSchedule():
            return float(schedule.factor**plateaus)
        case _:
            assert_never(schedule)
