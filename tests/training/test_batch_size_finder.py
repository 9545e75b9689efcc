"""Before the first update: which batches fit into memory, and what `auto` comes to."""

import dataclasses
import mmap
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from s2s import pipeline
from s2s.data.batches import batch_plan, collate
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.store import Corpus
from s2s.nn import control_groups
from s2s.nn.batch import Batch
from s2s.pipeline import averaging as pipeline_average
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.tasks.seq2seq import validation
from s2s.tasks.seq2seq.loss import batch_loss
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training import batch_size_finder as rehearsal
from s2s.training import memory_usage as memory
from s2s.training.batch_size_finder import FoundBatchSize, find_batch_size
from s2s.training.distributed.process_group import SINGLE_PROCESS
from s2s.training.memory_usage import PeakMemory, held_memory, whole_memory
from s2s.training.state import Position, TrainingState
from s2s.training.update import Updater
from tests.training.toys import (
    Listener,
    differing,
    small_model,
    small_recipe,
    state_of,
    weights,
    with_train,
    write_task,
)

CPU = torch.device("cpu")
MIB = 2**20


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Corpus]:
    folder = tmp_path_factory.mktemp("rehearsal")
    recipe = small_recipe(write_task(folder))
    prepare(recipe, folder / "run")
    return recipe, open_corpus(folder / "run", "train")


class Machine:
    """Memory that passes take in proportion to their tokens, instead of the real one."""

    def __init__(self, patch: pytest.MonkeyPatch, *, per_token: int, base: int, limit: int) -> None:
        self.per_token, self.base, self.limit = per_token, base, limit
        self.tried: list[int] = []
        self.largest = 0
        patch.setattr(rehearsal, "held_memory", lambda device: base)
        patch.setattr(rehearsal, "PeakMemory", lambda device: self)
        patch.setattr(rehearsal, "_BatchSizeFinder", self.rehearsal(rehearsal._BatchSizeFinder))

    def rehearsal(self, kind: type) -> type:
        machine = self

        class Counted(kind):  # type: ignore[misc]
            def _heaviest(self, tokens: int) -> Any:
                machine.tried.append(tokens)
                return iter(())

            def _future_moments(self) -> int:
                return 0

        return Counted

    def read(self) -> int:
        return self.base + self.per_token * self.tried[-1]

    @property
    def most(self) -> int:
        return (self.limit - self.base) // self.per_token


def found_by(
    task: tuple[Recipe, Corpus], batch_tokens: Any, state: TrainingState | None = None
) -> FoundBatchSize:
    recipe = with_train(task[0], batch_tokens=batch_tokens)
    state = state or state_of(recipe.train)
    return find_batch_size(
        state, Seq2SeqObjective(recipe.train), recipe, task[1], "fp32", multiple=4
    )


@pytest.mark.parametrize("per_token", [1, 7, 300, 5000])
@pytest.mark.parametrize("wanted", [500, 3000, 100_000])
def test_nothing_is_tried_that_a_line_says_will_not_fit(
    task: tuple[Recipe, Corpus],
    monkeypatch: pytest.MonkeyPatch,
    per_token: int,
    wanted: int,
) -> None:
    machine = Machine(monkeypatch, per_token=per_token, base=10_000, limit=20 * MIB)
    monkeypatch.setattr(rehearsal, "whole_memory", lambda device, count: 20 * MIB / 0.8)
    found = found_by(task, wanted)
    assert found.batch_tokens == wanted
    assert machine.tried == sorted(machine.tried)
    if machine.most >= wanted:
        assert found.pass_tokens is None
        assert machine.tried[-1] == wanted
    else:
        assert found.pass_tokens is not None
        assert max(machine.tried) <= machine.most
        assert machine.most / 1.06 <= found.pass_tokens <= machine.most
    assert found.peak == machine.base + per_token * machine.tried[-1]
    assert len(machine.tried) < 12


@pytest.mark.parametrize("most", [60, 300, 1500, 40_000])
def test_where_memory_runs_out_the_largest_is_searched_between(
    task: tuple[Recipe, Corpus], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """As on a GPU whose memory is in pieces."""
    machine = Machine(monkeypatch, per_token=1, base=0, limit=10**9)
    peak = rehearsal._BatchSizeFinder._peak
    monkeypatch.setattr(rehearsal, "whole_memory", lambda device, count: None)
    monkeypatch.setattr(
        rehearsal._BatchSizeFinder,
        "_peak",
        lambda self, tokens: p if (p := peak(self, tokens)) <= most else None,
    )
    found = found_by(task, 100_000)
    if most < rehearsal.GRAIN:
        assert found.pass_tokens == 1  # an update finds out by itself
    else:
        assert found.pass_tokens is not None
        assert most / 1.11 <= found.pass_tokens <= most
    assert len(machine.tried) < 20


def test_auto_leaves_an_epoch_a_hundred_updates(
    task: tuple[Recipe, Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much memory there is; and what it found is what it means from then on."""
    recipe, corpus = task
    Machine(monkeypatch, per_token=1, base=0, limit=10**9)
    many = np.full(40_000, 9)
    ids, ends = np.zeros(40_000 * 9, dtype=np.uint16), np.arange(40_001) * 9
    large = Corpus(ids, ends, ids, ends)
    state = state_of(recipe.train)
    found = found_by((recipe, large), "auto", state)
    plan = batch_plan((many, many), found.batch_tokens, seed=1, epoch=0)
    assert 100 <= len(plan) <= 106
    assert found.batch_tokens % 64 == 0
    assert state.position.batch_tokens == found.batch_tokens
    assert found_by((recipe, corpus), "auto", state).batch_tokens == found.batch_tokens
    assert found_by(task, "auto").batch_tokens == rehearsal.START


def test_auto_takes_what_fits(task: tuple[Recipe, Corpus], monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, per_token=1000, base=5 * MIB, limit=7 * MIB)
    monkeypatch.setattr(rehearsal, "whole_memory", lambda device, count: 7 * MIB / 0.8)
    monkeypatch.setattr(rehearsal, "_most_tokens", lambda corpus, accumulate: 10**6)
    found = found_by(task, "auto")
    assert machine.most - 64 - machine.most * 0.06 <= found.batch_tokens <= machine.most
    assert found.pass_tokens is None


def test_the_batches_that_are_tried_are_the_longest_and_the_usual(
    task: tuple[Recipe, Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = task[1]
    seen: list[Batch] = []
    monkeypatch.setattr(Updater, "fits", lambda self, batch: seen.append(batch) or True)
    found = found_by(task, 256)
    longest, usual = seen
    lengths = np.maximum(corpus.source_lengths, corpus.target_lengths) + 1
    assert int(longest.target_lengths.max()) == lengths.max()
    assert longest.tokens <= 256 and usual.tokens <= 256
    assert len(usual.target_lengths) >= len(longest.target_lengths)
    assert found.pass_tokens is None


def test_nothing_changes(task: tuple[Recipe, Corpus]) -> None:
    recipe = with_train(task[0], batch_tokens=4000, average=0.9)
    state, other = (state_of(recipe.train, small_model().dropout) for _ in range(2))
    found = find_batch_size(
        state, Seq2SeqObjective(recipe.train), recipe, task[1], "fp32", multiple=4
    )
    assert found.batch_tokens == 4000
    assert state.position == Position()
    assert all(p.grad is None for p in state.parameters.values())
    assert not state.optimizer.state
    batch = collate(task[1], np.arange(30))
    for one in (state, other):
        Updater(one, Seq2SeqObjective(one.recipe), 1, "fp32", 10)([batch])
    assert differing(state.weights(), other.weights()) == []


def test_the_peak_is_that_of_the_process(task: tuple[Recipe, Corpus]) -> None:
    peak, before = PeakMemory(CPU), held_memory(CPU)
    # From the system itself: torch may have as much to spare, from tests before this one.
    with mmap.mmap(-1, 50 * MIB) as ballast:
        ballast.write(bytes([1]) * (50 * MIB))
        held = held_memory(CPU)
    assert held > before + 45 * MIB
    assert peak.read() > held - MIB  # the system's counters run a little behind
    whole = whole_memory(CPU)
    assert whole is not None
    assert whole > held
    share = whole_memory(CPU, 4)
    assert share is not None
    assert share < whole
    found = found_by(task, 2000)
    assert 50 * MIB < found.peak < whole
    assert found.limit is not None
    assert found.limit < whole


SECOND = {"memory.current": "1024000", "memory.stat": "anon 5\nactive_file 0\ninactive_file 0\n"}
CACHED = {"memory.stat": "anon 5\nactive_file 102400\ninactive_file 204800\n"}
FIRST = {
    "memory/memory.usage_in_bytes": "1024000",
    "memory/memory.stat": "inactive_file 7\ntotal_active_file 0\ntotal_inactive_file 307200\n",
}


@pytest.mark.parametrize(
    ("files", "processes", "whole"),
    [
        ({}, 1, 4100),
        ({}, 4, 1100),
        ({**SECOND, "memory.max": "max\n"}, 1, 4100),
        ({**SECOND, "memory.max": "3072000\n"}, 1, 2100),
        ({**SECOND, "memory.max": "9"}, 1, 100),
        ({**SECOND, **CACHED, "memory.max": "3072000\n"}, 1, 2400),
        ({**FIRST, "memory/memory.limit_in_bytes": "3072000\n"}, 1, 2400),
        ({**FIRST, "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2, 2100),
    ],
)
def test_what_there_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    processes: int,
    whole: int,
) -> None:
    """Kibibytes; the process holds 100, and 4000 are available. Control groups of both versions."""
    of_process(monkeypatch, rss=100 * 1024)
    available = SimpleNamespace(available=4000 * 1024)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "none")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert whole_memory(CPU, processes) == whole * 1024


def of_process(patch: pytest.MonkeyPatch, **sizes: int) -> None:
    """What psutil tells of this process."""
    told = SimpleNamespace(memory_info=lambda: SimpleNamespace(**sizes))
    patch.setattr(memory.psutil, "Process", lambda: told)


def test_windows_tells_the_peak_beside_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    of_process(monkeypatch, rss=300, peak_wset=700)
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert (held_memory(CPU), PeakMemory(CPU).read()) == (300, 700)


def test_what_is_held_is_not_the_peak_without_files_of_linux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, where the peak is that since the process began, in bytes."""
    resource = pytest.importorskip("resource")
    most = SimpleNamespace(ru_maxrss=700)
    monkeypatch.setattr(resource, "getrusage", lambda who: most)
    monkeypatch.setattr(memory, "PROC", tmp_path / "nowhere")
    of_process(monkeypatch, rss=300)
    assert (held_memory(CPU), PeakMemory(CPU).read()) == (300, 700 * 1024)
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert (held_memory(CPU), PeakMemory(CPU).read()) == (300, 700)


def test_a_system_that_tells_nothing_has_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root folder without /proc."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(memory.psutil, "PROCFS_PATH", "/nowhere")
    monkeypatch.setattr(memory, "PROC", Path("/nowhere"))
    monkeypatch.setattr(control_groups, "ROOT", Path("/nowhere"))
    assert whole_memory(CPU) is None
    scale = 1 if sys.platform == "darwin" else 1024
    assert held_memory(CPU) == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def train(recipe: Recipe, root: Path) -> tuple[Run, Listener]:
    listener = Listener()
    pipeline.train(recipe, runs=root, device="cpu", reporter=listener)
    return Run.open(root / "toy"), listener


def started(run: Run) -> list[dict[str, Any]]:
    return [event["memory"] for event in run.read_events() if event["event"] == "start"]


def test_auto_is_the_number_it_finds_and_stays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = small_recipe(write_task(tmp_path / "task"), epochs=2)
    auto = with_train(plain, batch_tokens="auto")
    run, listener = train(with_train(auto, max_updates=3), tmp_path / "auto")
    (found,) = started(run)
    number = found["batch_tokens"]
    assert any(f"batches of {number:,} tokens take up to" in note for note in listener.notes)
    # Another machine would find another number; what was begun goes on as it was.
    monkeypatch.setattr(rehearsal, "_most_tokens", lambda corpus, accumulate: 128)
    train(auto, tmp_path / "auto")
    assert [one["batch_tokens"] for one in started(run)] == [number, number]
    same, _ = train(with_train(plain, batch_tokens=number), tmp_path / "number")
    assert differing(weights(run), weights(same)) == []


def test_a_batch_that_does_not_fit_is_split_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(write_task(tmp_path / "task"), epochs=2, batch_tokens=300)
    recipe = dataclasses.replace(recipe, model=small_model())
    tokens: list[int] = []
    whole = Updater._pass

    def watched(self: Updater, batch: Batch, *others: Any) -> Any:
        tokens.append(batch.tokens)
        return whole(self, batch, *others)

    monkeypatch.setattr(rehearsal._BatchSizeFinder, "grow", lambda self, largest: 90)
    monkeypatch.setattr(Updater, "_pass", watched)
    run, listener = train(recipe, tmp_path / "runs")
    told = [note for note in listener.notes if "too small" in note]
    assert len(told) == 1
    assert "memory is too small for batches of 300 tokens" in told[0]
    assert 45 < max(tokens) <= 90
    assert started(run)[0]["pass_tokens"] == 90


def test_validation_and_averages_need_no_more_than_the_first_try(tmp_path: Path) -> None:
    """Neither batches too large for memory nor those that `auto` has to find are theirs."""
    recipe = small_recipe(write_task(tmp_path / "task"), epochs=2, batch_tokens="auto", keep=2)
    run, _ = train(recipe, tmp_path)
    assert validation.BATCH_TOKENS <= rehearsal.START
    averaged = pipeline_average.average(run=run, device="cpu")
    assert averaged.found is not None  # it was validated
    corpus = open_corpus(run.folder, "validation")
    model = state_of(recipe.train).model.eval()
    batch = collate(corpus, np.arange(len(corpus)))
    expected = float(batch_loss(model, batch)[0].nll.detach()) / int(batch.target_lengths.sum())
    assert validation.validation_loss(model, corpus, SINGLE_PROCESS) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_training_that_is_over_is_not_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(write_task(tmp_path / "task"), epochs=1, batch_tokens="auto")
    train(recipe, tmp_path)
    monkeypatch.setattr(rehearsal._BatchSizeFinder, "grow", lambda self, largest: 1 / 0)
    _, listener = train(recipe, tmp_path)
    assert any("training ended" in note for note in listener.notes)


def test_every_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    assert whole_memory(torch.device("cuda:1"), 4) == 5700
