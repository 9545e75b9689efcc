"""Several processes train what one would."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch

from s2s import pipeline
from s2s.data.batches import collate, num_target_tokens
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import TrainingError, UsageError
from s2s.nn.batch import Batch
from s2s.pipeline.training_process import train_run
from s2s.recipe.load import dump_recipe
from s2s.recipe.metric_loss import MinimumRisk
from s2s.recipe.model import Dropout
from s2s.recipe.recipe import Recipe
from s2s.recipe.train import Optimizer
from s2s.recipe.transfer import InitFrom
from s2s.run.directory import Run
from s2s.training.distributed.launch import is_launched, with_workers
from s2s.training.distributed.process_group import (
    SINGLE_PROCESS,
    PendingActions,
    agreed,
    divided,
    share,
)
from s2s.training.distributed.shared_memory import workers
from s2s.training.state import Position
from s2s.training.update import Update, Updater, update_seed
from s2s_cli.main import run as command_line
from tests.commands import HANGS
from tests.training.test_resume import COMMAND, figures, position
from tests.training.toys import (
    Listener,
    differing,
    small_model,
    small_recipe,
    weights,
    with_train,
    write_task,
)

WITHOUT_DROPOUT = Dropout(embedding=0, word=0, encoder=0, decoder=0, readout=0)


class Place:
    """A member of a team that is not there."""

    is_launched = True

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def fail() -> Position:
    raise AssertionError


def train(recipe: Recipe, root: Path, workers: int) -> tuple[Run, Listener]:
    listener = Listener()
    pipeline.train(recipe, runs=root, device="cpu", reporter=listener, workers=workers)
    return Run.open(root / (recipe.name or "")), listener


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    return [event for event in run.read_events() if event["event"] == kind]


def children(process: int) -> set[int]:
    return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


# ------------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_a_batch_is_divided_among_all(size: int) -> None:
    pairs = np.arange(40, 47)
    parts = [share(pairs, Place(rank, size)) for rank in range(size)]  # type: ignore[arg-type]
    assert sorted(np.concatenate(parts).tolist()) == pairs.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_parameters_are_divided_by_size() -> None:
    sizes = {"a": 50, "b": 7, "c": 30, "d": 20, "e": 6}
    groups = divided(sizes, 2)
    assert sorted(name for group in groups for name in group) == sorted(sizes)
    assert [sum(sizes[name] for name in group) for group in groups] == [57, 56]
    assert divided({"a": 1}, 3) == [["a"], [], []]


def test_one_signal_stops_all_and_one_clock_saves() -> None:
    assert agreed([PendingActions(None, False), PendingActions(None, True)]) == PendingActions(
        None, False
    )
    assert agreed([PendingActions(None, True), PendingActions(15, False)]) == PendingActions(
        15, True
    )


def test_no_two_processes_draw_alike() -> None:
    seeds = {
        update_seed(seed, update, rank)
        for seed in range(1, 6)
        for update in range(1, 500)
        for rank in range(8)
    }
    assert len(seeds) == 5 * 499 * 8
    assert update_seed(3, 17, 0) == update_seed(3, 17)


def test_a_process_alone_is_a_team() -> None:
    assert SINGLE_PROCESS.all_gather("x") == ["x"]
    assert SINGLE_PROCESS.whole_norms({"a": torch.tensor(2.0)}) == {"a": torch.tensor(2.0)}


# ------------------------------------------------------------------------------------- --workers


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Without dropout there is nothing in which processes could differ but rounding."""
    data = write_task(tmp_path_factory.mktemp("plain"), train=110)
    recipe = small_recipe(data, max_updates=14, validate_every=7, average=0.9, accumulate=2)
    return Recipe(**{**vars(recipe), "model": small_model(dropout=WITHOUT_DROPOUT)})


@pytest.fixture(scope="module")
def alone(plain: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(plain, tmp_path_factory.mktemp("alone"), 1)[0]


def assert_same_course(run: Run, alone: Run) -> None:
    """Up to rounding: the same weights, the same log."""
    for which in ("last", "best"):
        ours, theirs = weights(run, which), weights(alone, which)
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    kinds = [Counter(event["event"] for event in r.read_events()) for r in (run, alone)]
    assert kinds[0] == kinds[1]
    assert run.checkpoints().best == alone.checkpoints().best
    for kind, names in {
        "update": ("update", "tokens", "smoothed", "nll", "gradient_norm", "learning_rate"),
        "validation": ("update", "epoch", "nll", "is_best"),
    }.items():
        for ours, theirs in zip(events(run, kind), events(alone, kind), strict=True):
            for name in names:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
    assert [f[2] for f in figures(run)] == [f[2] for f in figures(alone)]


def test_workers_train_what_one_process_does(plain: Recipe, alone: Run, tmp_path: Path) -> None:
    run, listener = train(plain, tmp_path, 2)
    assert_same_course(run, alone)
    assert [event["processes"] for event in events(run, "start")] == [2]
    assert "training ended after 14 updates" in listener.notes[-1]
    assert not (run.folder / "sampling").exists()


def test_workers_train_on_a_metric_as_one_process_does(plain: Recipe, tmp_path: Path) -> None:
    """The samples of a pair are the same in whichever process they are drawn."""
    loss = MinimumRisk(kind="minimum_risk", metric="cer", cross_entropy=0.5, start=2)
    recipe = with_train(plain, metric_loss=loss, max_updates=6, validate_every=3)
    one, _ = train(recipe, tmp_path / "one", 1)
    two, _ = train(recipe, tmp_path / "two", 2)
    assert_same_course(two, one)
    rewards = [
        [event["measures"]["reward"] for event in events(run, "update")] for run in (one, two)
    ]
    assert min(rewards[0]) < 0.0
    assert rewards[1] == pytest.approx(rewards[0], rel=1e-4)


def test_small_batches_leave_workers_without_work(plain: Recipe, tmp_path: Path) -> None:
    """Three processes for batches of two pairs; moments and all come to the same."""
    recipe = with_train(plain, batch_tokens=16, max_updates=4, accumulate=1, average=0.0)
    one, _ = train(recipe, tmp_path / "one", 1)
    three, _ = train(recipe, tmp_path / "three", 3)
    assert_same_course(three, one)
    ours, theirs = (run.read_training(4) for run in (three, one))
    assert ours is not None and theirs is not None
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in theirs.tensors.items():
        torch.testing.assert_close(ours.tensors[name], tensor, rtol=1e-3, atol=1e-7)


def test_resumed_is_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    """With dropout, which differs between processes; a resume by one process is reported."""
    recipe = small_recipe(write_task(tmp_path / "task"), max_updates=23, average=0.9)
    straight, _ = train(recipe, tmp_path / "straight", 2)
    train(with_train(recipe, max_updates=9), tmp_path / "stopped", 2)
    run, listener = train(recipe, tmp_path / "stopped", 2)
    assert "training resumes at update 9: " in listener.notes[0]
    assert len(listener.notes) == 2
    assert position(run)["update"] == 23
    assert differing(weights(run), weights(straight)) == []
    ours, theirs = (r.read_training(23) for r in (run, straight))
    assert ours is not None and theirs is not None
    assert differing(ours.tensors, theirs.tensors) == []

    run, listener = train(with_train(recipe, max_updates=25), tmp_path / "stopped", 1)
    assert listener.notes[1] == (
        f"{run.folder}: number of processes: 2 before, 1 from here on; the sums are the same up to "
        "rounding, dropout differs"
    )


def test_workers_find_the_same_divergence(plain: Recipe, tmp_path: Path) -> None:
    """All stop at the same update; it is reported once."""
    wild = with_train(plain, optimizer=Optimizer(learning_rate=1e3), max_updates=30)
    with pytest.raises(TrainingError, match=r"training diverged .*; nothing was saved yet; "):
        train(wild, tmp_path, 2)
    assert len(events(Run.open(tmp_path / "toy"), "diverged")) == 1


def test_an_error_of_a_worker_is_raised_by_rank_zero(plain: Recipe, tmp_path: Path) -> None:
    """Here that it finds no tokenizer."""
    work = partial(train_run, Run(tmp_path / "nowhere"), plain, "cpu", None)
    with (
        pytest.raises(TrainingError, match=rf"^worker process \d+: {tmp_path}/nowhere/"),
        workers(2, work) as group,
    ):
        group.all_gather(None)


def test_workers_are_for_a_cpu_and_not_for_torchrun(
    plain: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "toy.yaml").write_text(dump_recipe(plain))
    monkeypatch.chdir(tmp_path)
    assert command_line(["train", "toy.yaml", "--workers", "0"]) == 2
    capfd.readouterr()
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command_line(["train", "toy.yaml", "--device", "cuda:0"]) == 2
    assert capfd.readouterr().err == (
        "s2s: error: --device cuda:0: several processes need a GPU each; expected auto, cpu or "
        "cuda\n"
    )
    assert is_launched()
    monkeypatch.setenv("WORLD_SIZE", "1")  # a notebook's: nobody else is there
    assert not is_launched()

    monkeypatch.setattr("s2s.nn.device.choose_device", lambda wanted: torch.device("cuda:1"))
    for group, message in (
        (SINGLE_PROCESS, "--workers 2: they share the cores of a CPU, found --device cuda:1; "),
        (Place(0, 4), "--workers 2: torchrun has started 4 processes already; leave it out"),
    ):
        with (
            pytest.raises(UsageError, match=f"^{message}"),
            with_workers(group, 2, partial(fail), "auto"),  # type: ignore[arg-type]
        ):
            raise AssertionError


# ------------------------------------------------------------------------------ the command itself


class Command:
    """A training in a session of its own, as a terminal has one; it does not outlive the block."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.run = Run(folder / "runs" / "toy")
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait_for_update(self, update: int) -> None:
        """Until a later one was saved; all processes are at work then."""
        while (self.run.checkpoints().last or 0) <= update:
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def end(self) -> tuple[int, str]:
        """Exit status and stderr; nobody is left."""
        _, said = self.process.communicate(timeout=HANGS)
        return self.process.returncode, said


@pytest.fixture
def long(tmp_path: Path) -> Iterator[Recipe]:
    recipe = small_recipe(write_task(tmp_path / "task"), epochs=100_000, save_minutes=1e-6)
    (tmp_path / "toy.yaml").write_text(dump_recipe(recipe))
    return recipe


def test_a_worker_that_is_killed_ends_all_and_ctrl_c_saves(
    long: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    killed: list[int] = []
    make = Updater.__call__

    def kill(self: Updater, batches: list[Batch], *, tokens: int, watch: bool) -> Update:
        if self.state.position.update == 5:
            (worker,) = active_children()
            worker.kill()
            killed.append(worker.pid or 0)
        return make(self, batches, tokens=tokens, watch=watch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updater, "__call__", kill)
        assert command_line(["train", "toy.yaml", "--workers", "2"]) == 1
    said = capfd.readouterr().err
    assert said.splitlines()[-1] == (
        f"s2s: error: worker process {killed[0]} ended before its work was done (SIGKILL, was "
        "memory short?); the same command resumes from the last checkpoint"
    )
    assert "Traceback" not in said
    assert len(killed) == 1 and not active_children()
    run = Run(tmp_path / "runs" / "toy")
    saved = run.checkpoints().last
    assert saved == 5 and run.read_training(saved) is not None

    with Command(tmp_path, *COMMAND, "--workers", "2") as command:
        command.wait_for_update(saved)
        others = workers_of(command.process.pid)
        assert len(others) == 1
        os.killpg(command.process.pid, signal.SIGINT)  # a terminal sends it to all
        status, said = command.end()
    assert status == 130
    stopped = command.run.checkpoints().last
    assert stopped is not None and stopped > saved
    assert f"training resumes at update {saved}: " in said
    assert said.splitlines()[-1] == (
        f"s2s: runs/toy: saved at update {stopped}; the same command resumes there"
    )
    assert not any(Path(f"/proc/{process}").exists() for process in others)


def workers_of(process: int) -> list[int]:
    """Its children, but for the one that multiprocessing has for itself."""
    return [
        child
        for child in children(process)
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


# ------------------------------------------------------------------------------------- torchrun

TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("--no-python", *COMMAND, "--device", "cpu"),
)


def test_torchrun_trains_what_one_process_does(plain: Recipe, alone: Run, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(dump_recipe(plain))
    with Command(tmp_path, *TORCHRUN) as command:
        status, said = command.end()
    assert status == 0, said
    assert_same_course(command.run, alone)
    assert [event["processes"] for event in events(command.run, "start")] == [2]
    assert said.count("training ended after 14 updates") == 1


def test_torchrun_begins_with_another_run_and_freezes(plain: Recipe, tmp_path: Path) -> None:
    """What one process does, up to rounding; frozen parts stay bit for bit."""
    old = train(dataclasses.replace(plain, name="old"), tmp_path / "runs", 1)[0]
    recipe = with_train(plain, init_from=InitFrom(run="old"), freeze=("encoder", "output"))
    shutil.copytree(tmp_path / "runs" / "old", tmp_path / "alone" / "old")
    one = train(recipe, tmp_path / "alone", 1)[0]
    (tmp_path / "toy.yaml").write_text(dump_recipe(recipe))
    with Command(tmp_path, *TORCHRUN) as command:
        status, said = command.end()
    assert status == 0, said
    assert_same_course(command.run, one)
    assert said.count("begins with") == 1
    changed = differing(weights(old, "best"), weights(command.run))
    assert changed
    assert not any(name.startswith(("encoder.", "output.", "target_emb")) for name in changed)


def test_torchrun_passes_a_signal_on(long: Recipe, tmp_path: Path) -> None:
    with Command(tmp_path, *TORCHRUN) as command:
        command.wait_for_update(0)
        os.killpg(command.process.pid, signal.SIGINT)
        status, said = command.end()
    assert status != 0
    stopped = command.run.checkpoints().last
    assert [event["update"] for event in events(command.run, "interrupted")] == [stopped]
    assert said.count(f"s2s: runs/toy: saved at update {stopped}; ") == 1


def test_tokens_of_a_batch_are_counted_without_making_it(alone: Run) -> None:
    corpus = open_corpus(alone.folder, "train")
    pairs = np.array([3, 0, 11, 7])
    assert num_target_tokens(corpus, pairs) == int(collate(corpus, pairs).target_lengths.sum())
