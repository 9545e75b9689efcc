"""A training with a budget ends on time, whatever the speed, and its cosine with it."""

from pathlib import Path

import pytest

from s2s import pipeline
from s2s.recipe.recipe import Recipe
from s2s.recipe.train import CosineSchedule, Train
from s2s.run.directory import Run
from s2s.training import trainer as trainer_module
from s2s.training.lr_schedule import learning_rate_factor
from s2s.training.plan import FEWEST_BETWEEN, FIRST_PLANS, VALIDATIONS, TrainingPlan, end_reason
from s2s.training.state import Position
from s2s.training.trainer import LOG_EVERY
from s2s.training.update import Update, Updater
from tests.training.toys import Listener, small_recipe, with_train, write_task

COSINE = CosineSchedule(kind="cosine", warmup=10)


def simulate(recipe: Train, seconds_of_update, *, per_epoch: int = 1000) -> tuple[Position, list]:
    """A training whose update n takes `seconds_of_update(n)`; the factors of its learning rate."""
    position = Position()
    plan = TrainingPlan(recipe, position, per_epoch)
    factors, validations = [], 0
    while end_reason(position, recipe) is None:
        position.update += 1
        position.seconds += seconds_of_update(position.update)
        position.epoch, position.batch = divmod(position.update, per_epoch)
        factors.append(learning_rate_factor(COSINE, position.update, plan.total_updates))
        if position.update % LOG_EVERY == 0 or position.update in FIRST_PLANS:
            plan.revise(position.seconds)
        if plan.is_validation_due(epoch_ended=position.batch == 0):
            position.validated_update = position.update
            validations += 1
    return position, [*factors, validations]


@pytest.mark.parametrize("seconds", [0.01, 0.1, 1.0, 10.0])
def test_at_any_constant_speed_it_ends_on_time(seconds: float) -> None:
    recipe = Train(budget="10 min", epochs=100)
    position, (*factors, validations) = simulate(recipe, lambda update: seconds)
    assert position.seconds == pytest.approx(600, rel=0.03)
    assert position.ended is None
    assert end_reason(position, recipe) == "the budget of 10 min is used"
    assert factors[-1] < 0.02
    expected = min(VALIDATIONS, position.update // FEWEST_BETWEEN)
    assert expected - 1 <= validations <= expected


@pytest.mark.parametrize(("early", "late"), [(0.1, 0.3), (0.3, 0.1)])
def test_where_the_speed_changes_it_still_ends_on_time(early: float, late: float) -> None:
    position, (*factors, _) = simulate(
        Train(budget="10 min", epochs=100), lambda update: early if update < 700 else late
    )
    assert position.seconds == pytest.approx(600, rel=0.05)
    assert factors[-1] < 0.02


def test_a_constant_speed_leaves_the_first_plan() -> None:
    position = Position(update=LOG_EVERY)
    plan = TrainingPlan(Train(budget="10 min", epochs=100), position, per_epoch=1000)
    assert plan.total_updates == 100_000
    assert plan.revise(5.0)
    assert plan.total_updates == 6000
    position.update = 2 * LOG_EVERY
    assert not plan.revise(10.1)
    assert plan.total_updates == 6000


def test_epochs_and_updates_limit_a_budget_that_allows_more() -> None:
    for limits in (Train(budget="10 h", epochs=2), Train(budget="10 h", max_updates=2000)):
        position, (*factors, _) = simulate(limits, lambda update: 0.01)
        assert position.update == 2000
        assert factors[-1] == pytest.approx(0.01)


def test_a_training_uses_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """With a clock that only updates advance, a tenth of a second each."""
    now = [0.0]
    make = Updater.__call__

    def slow(self: Updater, *arguments: object, **options: object) -> Update:
        now[0] += 0.1
        return make(self, *arguments, **options)  # type: ignore[arg-type]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(Updater, "__call__", slow)
    monkeypatch.setattr(trainer_module, "time", Clock)
    recipe = budgeted(small_recipe(write_task(tmp_path / "task")))
    position = pipeline.train(recipe, runs=tmp_path, device="cpu", reporter=Listener())
    assert position.ended == "the budget of 20 s is used"
    assert position.seconds == pytest.approx(20, rel=0.03)
    assert position.update == position.planned_updates
    events = list(Run.open(tmp_path / str(recipe.name)).read_events())
    plans = [event["total_updates"] for event in events if event["event"] == "plan"]
    assert plans == [pytest.approx(200, abs=1)]
    validations = sum(event["event"] == "validation" for event in events)
    assert validations in range(8, 200 // FEWEST_BETWEEN + 2)


def budgeted(recipe: Recipe) -> Recipe:
    return with_train(recipe, budget="20 s", epochs=1000, patience=None, validate_every=None)
