"""What training tells while it runs."""

import io

import pytest
from rich.console import Console

from s2s.metrics.corpus import score
from s2s.training.objective import Validation
from s2s.training.reporter import LiveReporter, PlainReporter, Window, reporter, validation_line
from s2s.training.state import Position

WINDOW = Window(
    smoothed=2.5,
    nll=2.125,
    gradient_norm=0.5,
    learning_rate=3e-4,
    tokens_per_second=4321.0,
    readout_deviation=0.3,
)
VALIDATION = Validation(1.5, score(("chrf",), ["ab"], [["ab"]]))


@pytest.mark.parametrize(
    ("epoch", "batch", "current"),
    [(0, 0, 1), (0, 1, 1), (0, 99, 1), (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 5, 3)],
)
def test_epochs_are_counted_from_one(epoch: int, batch: int, current: int) -> None:
    """After the last batch of an epoch that epoch is done and the next has not begun."""
    position = Position(update=7, epoch=epoch, batch=batch, seconds=90.0)
    assert position.current_epoch == current
    line = f"epoch {current}  update 7  1.5 min  validation loss 1.500  chrf 100.00"
    assert validation_line(position, VALIDATION, is_best=False) == line
    assert validation_line(position, VALIDATION, is_best=True) == line + "  *best*"


def test_plain_lines_are_few_and_say_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("s2s.training.reporter.time.monotonic", lambda: now)
    stream = io.StringIO()
    with PlainReporter(stream) as plain:
        plain.begin(Position(), 400)
        for update in range(10, 60, 10):  # a report in six seconds
            now += 6.0
            plain.update(Position(update=update, batch=update, seconds=3.0 * update), WINDOW)
    first = "epoch 1  update 10/400  loss 2.125  4,321 tokens/s  lr 0.0003  20 min left"
    later = "epoch 1  update 40/400  loss 2.125  4,321 tokens/s  lr 0.0003  18 min left"
    assert stream.getvalue().splitlines() == [first, later]


def test_time_left_is_never_negative() -> None:
    """Epochs differ by a few batches, so that the last may end beyond the expected total."""
    stream = io.StringIO()
    plain = PlainReporter(stream)
    plain.begin(Position(), 10)
    plain.update(Position(update=12, epoch=1, batch=2, seconds=1e6), WINDOW)
    assert stream.getvalue().rstrip().endswith("  0 min left")


def test_the_live_display_shows_where_training_stands() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with LiveReporter(console) as live:
        live.note("runs/[toy]: training begins")
        live.begin(Position(), 1200)
        live.update(Position(update=50, epoch=1, batch=3, seconds=10.0), WINDOW)
        live.progress.refresh()
        first = console.file.getvalue()  # type: ignore[attr-defined]
        best = Position(update=60, epoch=2, best_score=-1.5, best_update=60)
        live.validation(best, VALIDATION, is_best=True)
        live.update(Position(update=1200, epoch=20, best_score=-1.5), WINDOW)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "runs/[toy]: training begins" in first
    for part in ("epoch 2 ", " 50/1,200 ", "loss 2.125  4,321 tok/s", "lr 0.0003  best -"):
        assert part in first
    assert "epoch 2  update 60" in shown
    assert "chrf 100.00  *best*" in shown
    for part in ("epoch 20 ", " 1,200/1,200 ", "best 1.50", "0:00:00"):
        assert part in shown[len(first) :]


def test_a_resumed_display_begins_where_training_stands() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with LiveReporter(console) as live:
        live.begin(Position(update=30, epoch=1, batch=4, best_score=27.25), 90)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("epoch 2 ", " 30/90 ", "loss -  - tok/s", "best 27.25"):
        assert part in shown


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, LiveReporter), (False, PlainReporter)])
def test_it_depends_on_stderr(monkeypatch, is_terminal: bool, kind: type) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    assert isinstance(reporter(), kind)
