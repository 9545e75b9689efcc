"""Interrupted and resumed is uninterrupted, bit for bit, whatever the interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import torch

from s2s import pipeline
from s2s.errors import Interrupted
from s2s.nn.batch import Batch
from s2s.recipe.guided_alignment import GuidedAlignment
from s2s.recipe.load import dump_recipe
from s2s.recipe.metric_loss import MinimumRisk
from s2s.recipe.recipe import Recipe
from s2s.recipe.scheduled_sampling import LinearSampling
from s2s.recipe.search import SampleSearch
from s2s.recipe.train import CosineSchedule, InverseSqrtSchedule, PlateauSchedule
from s2s.run.directory import Run
from s2s.training import trainer
from s2s.training.signals import stop_request
from s2s.training.update import Update, Updater
from s2s_cli.main import run as command_line
from tests.commands import HANGS
from tests.training.toys import Listener, differing, small_recipe, weights, write_task

EPOCH = 19
"""Updates of the toy recipe's first epoch."""

VARIANTS: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": CosineSchedule(kind="cosine", warmup=5)},
    "scheduled sampling": {
        "scheduled_sampling": LinearSampling(kind="linear", updates=30, least=0.3),
        "schedule": CosineSchedule(kind="cosine", warmup=5),
    },
    "guided alignment": {"guided_alignment": GuidedAlignment(weight=0.5)},
    "minimum risk": {
        "metric_loss": MinimumRisk(
            kind="minimum_risk",
            metric="chrf",
            candidates=SampleSearch(kind="sample", samples=2),
            cross_entropy=0.5,
            start=5,
        ),
        "max_updates": 12,
    },
    "averaged, validated within epochs": {
        "average": 0.9,
        "validate_every": 6,
        "schedule": InverseSqrtSchedule(kind="inverse_sqrt", warmup=5),
    },
    "accumulated, averaged, plateaus": {
        "average": 0.8,
        "accumulate": 2,
        "r_drop": 2.0,
        "best": "bleu",
        "validate_every": 4,
        "patience": None,
        "epochs": 4,
        "schedule": PlateauSchedule(kind="plateau", factor=0.5, patience=1, warmup=3),
    },
}
STOPS = {
    "cosine": [1, EPOCH - 1, EPOCH, EPOCH + 1],
    "scheduled sampling": [7, 25],
    "guided alignment": [7],
    "minimum risk": [5, 9],
    "averaged, validated within epochs": [5, 6, 30],
    "accumulated, averaged, plateaus": [9, 10, 24],
}


def train(recipe: Recipe, root: Path) -> tuple[Run, Listener]:
    listener = Listener()
    pipeline.train(recipe, runs=root, device="cpu", reporter=listener)
    return Run.open(root / "toy"), listener


def stop_after(updates: list[int], patch: pytest.MonkeyPatch) -> None:
    """Have a signal arrive while each of these updates is made."""
    make = Updater.__call__

    def interrupted(self: Updater, batches: list[Batch], *, tokens: int, watch: bool) -> Update:
        if self.state.position.update + 1 in updates:
            signal.raise_signal(signal.SIGTERM)
        return make(self, batches, tokens=tokens, watch=watch)

    patch.setattr(Updater, "__call__", interrupted)


def figures(run: Run) -> list[Any]:
    """What the validations found, and where."""
    return [
        (event["update"], event["nll"], event["scores"], event["is_best"])
        for event in run.read_events()
        if event["event"] == "validation"
    ]


def position(run: Run) -> dict[str, Any]:
    """Where training stands, but for the clock."""
    last = run.checkpoints().last
    assert last is not None
    saved = run.read_training(last)
    assert saved is not None
    return {name: value for name, value in saved.meta.items() if name != "seconds"}


@pytest.mark.kernels
@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_by_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """Within an epoch, before, at and after its end; once and again in the same run."""
    recipe = small_recipe(write_task(tmp_path / "task"), **VARIANTS[variant])
    if "plateaus" in variant:  # no validation is better than the first
        monkeypatch.setattr(trainer, "_is_best", lambda position, *_: not position.best_update)
    straight, _ = train(recipe, tmp_path / "straight")
    stop_after(STOPS[variant], monkeypatch)
    for stop in STOPS[variant]:
        with pytest.raises(Interrupted) as caught:
            train(recipe, tmp_path / "stopped")
        assert caught.value.exit_status == 128 + signal.SIGTERM
        assert str(caught.value) == (
            f"{tmp_path}/stopped/toy: saved at update {stop}; the same command resumes there"
        )
    run, listener = train(recipe, tmp_path / "stopped")
    assert f"training resumes at update {STOPS[variant][-1]}: " in listener.notes[0]

    assert position(run) == position(straight)
    assert position(run)["update"] > STOPS[variant][-1] + 2
    if "plateaus" in variant:
        assert position(run)["plateaus"] > 1
    assert figures(run) == figures(straight)
    assert run.checkpoints() == straight.checkpoints()
    for which in ("last", "best"):
        assert differing(weights(run, which), weights(straight, which)) == []
    ours, theirs = (r.read_training(position(r)["update"]) for r in (run, straight))
    assert ours is not None and theirs is not None
    assert differing(ours.tensors, theirs.tensors) == []
    starts = [event for event in run.read_events() if event["event"] == "start"]
    assert [event["update"] for event in starts] == [0, *STOPS[variant]]
    assert [event["is_resumed"] for event in starts] == [False] + [True] * len(STOPS[variant])


def test_a_request_during_the_last_update_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(write_task(tmp_path / "task"), max_updates=5)
    stop_after([5], monkeypatch)
    run, listener = train(recipe, tmp_path)
    assert run.checkpoints().last == 5
    assert "training ended" in listener.notes[-1]


def test_asked_twice_it_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_request() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signal_number == signal.SIGINT
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) == before


# ------------------------------------------------------------------------------ the command itself

COMMAND = [sys.executable, "-c", "from s2s_cli.main import main; main()", "train", "toy.yaml"]


class Training:
    """`s2s train` in a process of its own, which does not outlive the block."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.run = Run(folder / "runs" / "toy")
        self.begun = len(list(self.run.read_events()))
        self.process = subprocess.Popen(
            [*COMMAND, *options],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def wait_for(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            time.sleep(0.05)

    def has_begun(self) -> bool:
        return len(list(self.run.read_events())) > self.begun

    def has_saved_after(self, update: int) -> bool:
        return last_update(self.run) > update

    def end(self) -> tuple[int, str]:
        """Exit status and stderr."""
        _, said = self.process.communicate(timeout=HANGS)
        return self.process.returncode, said


def last_update(run: Run) -> int:
    return run.checkpoints().last or 0


@pytest.mark.slow
def test_the_command_survives_signals_and_power_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without an end of its own, lest a busy machine looks only when training is over."""
    recipe = small_recipe(
        write_task(tmp_path / "task"),
        accumulate=2,
        average=0.95,
        epochs=100_000,
        patience=None,
        validate_every=10,
        schedule=PlateauSchedule(kind="plateau", patience=1),
    )
    (tmp_path / "toy.yaml").write_text(dump_recipe(recipe))
    monkeypatch.chdir(tmp_path)

    with Training(tmp_path) as first:
        first.wait_for(first.has_begun)
        assert command_line(["train", "toy.yaml"]) == 1
        assert capfd.readouterr().err == (
            f"s2s: error: runs/toy: in use by process {first.process.pid}; wait for it, or stop it "
            "first\n"
        )
        first.process.send_signal(signal.SIGINT)
        status, said = first.end()
    stopped = last_update(first.run)
    assert status == 130
    assert said.splitlines()[-1] == (
        f"s2s: runs/toy: saved at update {stopped}; the same command resumes there"
    )
    assert "Traceback" not in said

    with pytest.MonkeyPatch.context() as patch:
        stop_after([stopped + 3], patch)
        assert command_line(["train", "toy.yaml"]) == 143
    said = capfd.readouterr().err
    assert f"training resumes at update {stopped}: " in said
    assert last_update(first.run) == stopped + 3

    stopped = last_update(first.run)
    with Training(tmp_path, "--set", "train.save_minutes=1e-6") as second:
        second.wait_for(lambda: second.has_saved_after(stopped + 20))
        second.process.kill()
        assert second.end()[0] == -signal.SIGKILL
    stopped = last_update(second.run)

    end = ("--set", f"train.max_updates={stopped + 25}")
    assert command_line(["train", "toy.yaml", *end]) == 0
    said = capfd.readouterr().err
    assert f"training resumes at update {stopped}: " in said
    assert "training ended" in said.splitlines()[-1]
    assert last_update(second.run) == position(second.run)["update"] == stopped + 25
    # What was lost with the power is in the log twice, the same both times.
    log = [json.dumps(figure) for figure in figures(second.run)]

    assert command_line(["train", "toy.yaml", "--runs", "straight", *end]) == 0
    straight = Run.open(Path("straight/toy"))
    assert sorted(set(log)) == sorted(json.dumps(figure) for figure in figures(straight))
    assert position(second.run) == position(straight)
    for which in ("last", "best"):
        assert differing(weights(second.run, which), weights(straight, which)) == []
