"""Learning rates over updates, against the formulas they are named after."""

import itertools
import math

import pytest

from s2s.recipe.train import (
    ConstantSchedule,
    CosineSchedule,
    InverseSqrtSchedule,
    PlateauSchedule,
    Schedule,
)
from s2s.training.lr_schedule import learning_rate_factor

TOTAL = 110

CONSTANT = ConstantSchedule(kind="constant")
WARM = ConstantSchedule(kind="constant", warmup=10)
SQRT = InverseSqrtSchedule(kind="inverse_sqrt", warmup=4)
COSINE = CosineSchedule(kind="cosine", warmup=10, floor=0.2)
COLD = CosineSchedule(kind="cosine", warmup=0, floor=0.0)
PLATEAU = PlateauSchedule(kind="plateau", warmup=2, factor=0.5)


@pytest.mark.parametrize(
    ("schedule", "update", "plateaus", "factor"),
    [
        (CONSTANT, 1, 0, 1.0),
        (CONSTANT, 10**6, 0, 1.0),
        (WARM, 1, 0, 0.1),
        (WARM, 5, 0, 0.5),
        (WARM, 10, 0, 1.0),
        (WARM, 11, 0, 1.0),
        (SQRT, 1, 0, 0.25),
        (SQRT, 4, 0, 1.0),
        (SQRT, 16, 0, 0.5),
        (SQRT, 400, 0, 0.1),
        (COSINE, 5, 0, 0.5),
        (COSINE, 10, 0, 1.0),
        (COSINE, 60, 0, 0.6),
        (COSINE, 110, 0, 0.2),
        (COSINE, 120, 0, 0.2),
        (COLD, 55, 0, 0.5),
        (COLD, 110, 0, 0.0),
        (PLATEAU, 1, 0, 0.5),
        (PLATEAU, 2, 0, 1.0),
        (PLATEAU, 3, 0, 1.0),
        (PLATEAU, 3, 1, 0.5),
        (PLATEAU, 300, 3, 0.125),
    ],
)
def test_factors(schedule: Schedule, update: int, plateaus: int, factor: float) -> None:
    assert learning_rate_factor(schedule, update, TOTAL, plateaus) == pytest.approx(factor)


@pytest.mark.parametrize("schedule", [WARM, SQRT, COSINE, COLD, PLATEAU], ids=lambda s: s.kind)
def test_the_peak_is_one_and_nothing_jumps(schedule: Schedule) -> None:
    factors = [learning_rate_factor(schedule, update, TOTAL) for update in range(1, TOTAL + 1)]
    assert max(factors) <= 1.0
    assert min(factors) >= 0.0
    peak = max(1, schedule.warmup)
    assert factors[peak - 1] == pytest.approx(1.0, abs=1e-3)
    up = [after - before for before, after in itertools.pairwise(factors[:peak])]
    assert all(step == pytest.approx(1 / peak) for step in up)
    down = [before - after for before, after in itertools.pairwise(factors[peak:])]
    assert all(0 <= step < 0.11 for step in down)


def test_a_cosine_shorter_than_its_warmup_never_leaves_it() -> None:
    short = CosineSchedule(kind="cosine", warmup=200)
    assert learning_rate_factor(short, 50, 50) == 0.25
    assert learning_rate_factor(short, 201, 50) == pytest.approx(short.floor)


def test_inverse_square_root_is_the_transformers() -> None:
    """Vaswani et al. 2017, equation 3, over its own maximum."""
    for update in range(1, 100):
        expected = min(update**-0.5, update * 4**-1.5) / 4**-0.5
        assert math.isclose(learning_rate_factor(SQRT, update, 100), expected)
