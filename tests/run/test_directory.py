"""The run directory: crashes, locks, and changes of the recipe."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from s2s.errors import RunError, TrainingError, UsageError
from s2s.files import temporary_beside
from s2s.recipe.data import GeneratedData
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.recipe.train import ConstantSchedule, Train
from s2s.run.checkpoints import CheckpointIndex, SavedState
from s2s.run.directory import Run

RECIPE = Recipe(
    task="translation",
    name="toy",
    data=GeneratedData(kind="generated", corpus="dates"),
    tokenizer=SubwordTokenizer(kind="unigram"),
)
CONSTANT = dataclasses.replace(
    RECIPE, train=Train(schedule=ConstantSchedule(kind="constant"), epochs=3)
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(RECIPE, tmp_path / "runs")


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((2, 3), value), "b": torch.arange(5)}


def train(**changes) -> Recipe:
    return dataclasses.replace(RECIPE, train=dataclasses.replace(RECIPE.train, **changes))


# ---------------------------------------------------------------------------- creating, opening


def test_a_run_keeps_its_recipe(run: Run) -> None:
    assert run.recipe == RECIPE
    assert run.name == "toy"
    assert Run.open(run.folder) == run
    other = dataclasses.replace(RECIPE, seed=9)
    assert Run.create(other, run.folder.parent).recipe == RECIPE


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        Run.open(tmp_path)


def test_the_environment_is_recorded_and_newer_formats_refused(run: Run) -> None:
    run.write_environment("cpu", seed=3)
    content = json.loads(run.environment_path.read_text())
    assert (content["format"], content["device"], content["seed"]) == (1, "cpu", 3)
    assert content["packages"]["torch"] == str(torch.__version__)
    Run.open(run.folder)
    run.environment_path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(
        RunError, match=r"written by a newer s2s .run format 2, this one: 1.; upgrade"
    ):
        Run.open(run.folder)
    run.environment_path.write_text("{")
    with pytest.raises(RunError, match="expected the environment of a run"):
        Run.open(run.folder)


# ---------------------------------------------------------------------------------- checkpoints


def test_checkpoints_keep_the_last_and_the_best(run: Run) -> None:
    assert run.checkpoints() == CheckpointIndex()
    run.write_checkpoint(10, weights(10), is_best=True, score=1.5)
    run.write_checkpoint(20, weights(20))
    run.write_checkpoint(30, weights(30))
    assert run.checkpoints() == CheckpointIndex(last=30, best=10, best_score=1.5)
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["10", "30"]
    for which, value in [("best", 10), ("last", 30), (30, 30)]:
        read = run.read_weights(which)
        assert torch.equal(read["a"], weights(value)["a"])
        assert torch.equal(read["b"], torch.arange(5))
    with pytest.raises(RunError, match="no checkpoint 20; there: 10, 30"):
        run.read_weights(20)


def test_the_last_stands_in_for_an_unknown_best(run: Run) -> None:
    with pytest.raises(RunError, match="no checkpoint yet; 's2s train' writes one"):
        run.read_weights("best")
    run.write_checkpoint(7, weights(7))
    assert run.resolve_checkpoint("best") == 7


def test_training_state_comes_back_bit_for_bit(run: Run) -> None:
    tensors = {"moment": torch.randn(4, 4), "rng": torch.get_rng_state()}
    meta = {"epoch": 3, "patience": None, "scores": [0.1, 1e-300], "text": "ü"}
    run.write_checkpoint(5, weights(5), SavedState(tensors, meta))
    state = run.read_training(5)
    assert state is not None
    assert state.meta == meta
    assert all(torch.equal(state.tensors[name], tensors[name]) for name in tensors)
    (run.folder / "checkpoints" / "5" / "training.safetensors").unlink()
    assert run.read_training(5) is None
    assert run.read_weights("last").keys() == {"a", "b"}


def test_tensors_that_share_memory_or_are_not_contiguous_are_saved(run: Run) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"row": base[1], "base": base, "turned": base.T, "none": torch.empty(0, 2)}
    run.write_checkpoint(1, tensors)
    read = run.read_weights("last")
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_a_step_saved_twice_takes_the_newer_training_state(run: Run) -> None:
    for patience in (0, 1):
        run.write_checkpoint(
            5,
            weights(5),
            SavedState({}, {"patience": patience}),
            is_best=bool(patience),
            score=2.0,
        )
    state = run.read_training(5)
    assert state is not None and state.meta == {"patience": 1}
    assert run.checkpoints() == CheckpointIndex(last=5, best=5, best_score=2.0)


STEPS = [(os, "fsync", nth) for nth in range(1, 8)] + [
    (Path, "rename", 1),
    (Path, "replace", 1),
    (Path, "mkdir", 2),
]


@pytest.mark.parametrize(("owner", "name", "nth"), STEPS)
def test_a_full_disk_leaves_the_last_good_checkpoint(
    run: Run, monkeypatch, owner, name, nth
) -> None:
    run.write_checkpoint(1, weights(1), SavedState({}, {"n": 1}), is_best=True, score=1.0)
    before = run.checkpoints()
    original, calls = getattr(owner, name), 0

    def full(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, full)
    try:
        run.write_checkpoint(2, weights(2), SavedState({}, {"n": 2}), is_best=True, score=2.0)
    except TrainingError as error:
        message = str(error)
        assert "cannot save the checkpoint of update 2: No space left on device" in message
        assert message.endswith("the checkpoint of update 1 is intact")
        assert "\n" not in message
    else:
        assert calls < nth, "the failure was swallowed"
    monkeypatch.undo()
    index = run.checkpoints()
    # The index is the new one already where only flushing its folder failed.
    assert index in (before, CheckpointIndex(last=2, best=2, best_score=2.0))
    assert run.read_weights("last")["a"][0, 0] == index.last
    if calls >= nth:
        assert run.read_weights(1)["a"][0, 0] == 1
    assert not list(run.folder.rglob(".tmp-*"))


def test_a_crash_leaves_rubbish_that_the_next_write_removes(run: Run) -> None:
    run.write_checkpoint(1, weights(1))
    rubbish = temporary_beside(run.folder / "checkpoints" / "2")
    rubbish.mkdir()
    (rubbish / "weights.safetensors").write_bytes(b"half")
    (run.folder / "checkpoints" / "9").mkdir()  # published, but the power failed before the index
    assert run.resolve_checkpoint("last") == 1
    run.write_checkpoint(2, weights(2))
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["2"]


def test_a_file_size_limit_is_one_line(run: Run) -> None:
    """The same through the operating system: writes beyond a limit fail as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run.write_checkpoint(1, weights(1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(
            TrainingError, match=r"update 2: .*; the checkpoint of update 1 is intact"
        ):
            run.write_checkpoint(2, {"big": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run.read_weights("last")["a"][0, 0] == 1


@pytest.mark.parametrize("content", [b"", b"PK\3\4 a zip", b"\x80\4."])
def test_foreign_weights_are_one_line(run: Run, content: bytes) -> None:
    run.write_checkpoint(1, weights(1))
    path = run.folder / "checkpoints" / "1" / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        RunError, match=r"weights.safetensors: truncated, or not written by s2s \(.*\);"
    ):
        run.read_weights("last")


def test_truncated_and_missing_weights_are_one_line(run: Run) -> None:
    run.write_checkpoint(1, weights(1))
    path = run.folder / "checkpoints" / "1" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match="truncated, or not written by s2s"):
        run.read_weights("last")
    path.unlink()
    with pytest.raises(RunError, match="no such file; restore it"):
        run.read_weights("last")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"last": 1, "first": 2}', '{"last": "x"}', "\xff"]
)
def test_a_broken_index_is_one_line(run: Run, content: str) -> None:
    (run.folder / "checkpoints.json").write_text(content)
    with pytest.raises(RunError, match=r"checkpoints\.json: expected"):
        run.checkpoints()


def test_foreign_training_state_is_one_line(run: Run) -> None:
    run.write_checkpoint(1, weights(1))
    source = run.folder / "checkpoints" / "1" / "weights.safetensors"
    source.with_name("training.safetensors").write_bytes(source.read_bytes())
    with pytest.raises(RunError, match="not a training state of s2s"):
        run.read_training(1)


# ----------------------------------------------------------------------------------------- lock

HOLD = """
import sys
from pathlib import Path
from s2s.run.directory import Run
with Run(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_error_of_a_second_process_names_the_first(run: Run) -> None:
    command = [sys.executable, "-c", HOLD, str(run.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        expected = f"toy: in use by process {holder.pid}; wait for it, or stop it first"
        with pytest.raises(RunError, match=expected), run.lock():
            pass
        holder.communicate()
    with run.lock():
        pass
    with run.lock():
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/toy: cannot write there: Not a directory"):
        Run.create(RECIPE, tmp_path / "file")


# ------------------------------------------------------------------------------- another recipe


def test_before_the_first_checkpoint_any_recipe_may_go_on(run: Run) -> None:
    other = dataclasses.replace(RECIPE, seed=2)
    run.check_same(other)
    assert run.recipe == other


SAFE = [
    dataclasses.replace(RECIPE, search=GreedySearch(kind="greedy")),
    dataclasses.replace(RECIPE, metrics=("bleu",)),
    dataclasses.replace(RECIPE, name="other"),
    train(patience=3, save_minutes=1.0),
]


@pytest.mark.parametrize("recipe", SAFE)
def test_what_does_not_change_training_may_change(run: Run, recipe: Recipe) -> None:
    run.write_checkpoint(1, weights(1))
    run.check_same(recipe)
    assert run.recipe == dataclasses.replace(recipe, name=run.recipe.name)


def test_another_recipe_is_refused_with_its_differences(run: Run) -> None:
    run.write_checkpoint(1, weights(1))
    other = dataclasses.replace(RECIPE, seed=2, train=Train(batch_tokens=99, patience=1))
    with pytest.raises(UsageError) as caught:
        run.check_same(other)
    assert str(caught.value) == (
        f"{run.folder}: trained with another recipe (seed: 1 -> 2; train.batch_tokens: 2000 -> 99);"
        " --set name=NEW starts a new run, --restart starts over in this folder"
    )
    assert run.recipe == RECIPE


def test_many_differences_are_folded(run: Run) -> None:
    run.write_checkpoint(1, weights(1))
    other = dataclasses.replace(
        train(
            batch_tokens=99, accumulate=2, label_smoothing=0.0, average=0.5, clip_norm=2.0,
            precision="fp32", validate_every=3, best="loss", max_updates=5,
        ),
        seed=2,
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"; and 2 more\); --set name=NEW"):
        run.check_same(other)


def test_training_may_get_longer_unless_its_schedule_depends_on_the_end(tmp_path: Path) -> None:
    longer = dataclasses.replace(CONSTANT, train=dataclasses.replace(CONSTANT.train, epochs=9))
    run = Run.create(CONSTANT, tmp_path)
    run.write_checkpoint(1, weights(1))
    run.check_same(longer)
    assert run.recipe.train.epochs == 9

    cosine = Run.create(dataclasses.replace(RECIPE, name="cosine"), tmp_path)
    cosine.write_checkpoint(1, weights(1))
    with pytest.raises(UsageError, match=r"train.epochs: 30 -> 31"):
        cosine.check_same(train(epochs=31))


def test_restart_forgets_what_was_trained_and_keeps_the_data(run: Run) -> None:
    run.write_checkpoint(1, weights(1))
    run.append_event({"kind": "x"})
    run.data_folder.mkdir()
    other = dataclasses.replace(RECIPE, seed=2)
    run.restart(other)
    assert run.checkpoints() == CheckpointIndex()
    assert list(run.read_events()) == []
    assert run.recipe == other
    assert run.data_folder.exists()


# --------------------------------------------------------------------------------------- events


def test_events_survive_a_torn_line(run: Run) -> None:
    assert list(run.read_events()) == []
    run.append_event({"event": "train", "loss": 1.5, "nested": {"a": [1, float("inf")]}})
    with run.metrics_path.open("ab") as file:
        file.write(b'{"event": "torn", "lo')
    assert [event["event"] for event in run.read_events()] == ["train"]
    run.append_event({"event": "next", "loss": float("nan"), "text": "ü\u2028"})
    first, second = run.read_events()
    assert first["nested"] == {"a": [1, None]}
    assert (second["event"], second["loss"], second["text"]) == ("next", None, "ü\u2028")
    assert "time" in second
