"""The course of a training from its log."""

from typing import Any

from s2s.run.history import read_history


def event(kind: str, update: Any, **values: Any) -> dict[str, Any]:
    return {"event": kind, "update": update, **values}


def test_what_a_resumed_training_repeats_counts_once() -> None:
    log = [
        event("start", 0),
        *(event("update", update, run=1) for update in (50, 100, 150)),
        event("validation", 100, run=1, is_best=True),
        event("validation", 150, run=1, is_best=True),
        event("start", 100),
        event("update", 150, run=2),
        event("validation", 150, run=2, is_best=False),
        event("end", 150),
        event("evaluation", 100),
    ]
    found = read_history(log)
    assert [(e["update"], e["run"]) for e in found.update] == [(50, 1), (100, 1), (150, 2)]
    assert [(e["update"], e["run"]) for e in found.validation] == [(100, 1), (150, 2)]
    assert found.resumed_at == [100]
    assert found.best_validation() == event("validation", 100, run=1, is_best=True)
    assert found.last == event("end", 150)
    assert found.evaluation == [event("evaluation", 100)]


def test_the_index_says_which_validation_is_the_best() -> None:
    """`train.best` may change after the events were written."""
    log = [event("validation", update, is_best=update < 150) for update in (50, 100, 150)]
    for best, update in ((None, 100), (50, 50), (150, 150), (99, 100)):
        found = read_history(log, best).best_validation()
        assert found is not None and found["update"] == update


def test_events_without_an_update_are_left_out() -> None:
    log = [event("update", "x"), event("update", True), {"event": "update"}, {}, event(None, 3)]
    found = read_history(log)
    assert found.update == []
    assert found.best_validation() is None
    assert read_history([]).last is None
