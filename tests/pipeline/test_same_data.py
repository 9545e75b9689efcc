"""A training resumes with the bytes that it was begun with, wherever they lie, and no others."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from s2s.pipeline.sweeping import SweepOptions, sweep
from s2s.run.directory import Run
from tests.commands import Call, call, write_example

__all__ = ["call"]

TRAIN = ("train", "recipe.yaml", "--set", "train.schedule={kind: constant}", "--device", "cpu")


def train(call: Call, epochs: int, *overrides: str) -> tuple[int, str]:
    sets = [word for one in (f"train.epochs={epochs}", *overrides) for word in ("--set", one)]
    status, _, err = call(*TRAIN, *sets)
    return status, err


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_example()


def weights() -> dict[str, torch.Tensor]:
    return Run(Path("runs/spell")).read_weights("last")


def test_a_project_may_be_copied_and_its_paths_spelled_anew(call: Call) -> None:
    assert train(call, 1)[0] == 0
    shutil.copytree(".", "../whole")
    shutil.copytree(".", "../copy", copy_function=shutil.copyfile)
    os.chdir("../copy")
    shutil.move("train.y", "../train.y")
    Path("link.y").symlink_to("../train.y")
    os.utime("test.x", (1_000_000_000, 1_000_000_000))
    status, err = train(call, 2, "data.train.source=./train.x", "data.train.target=link.y")
    assert (status, "training resumes at update" in err) == (0, True), err
    data = Run(Path("runs/spell")).recipe.data
    assert data.train.source == "./train.x"
    moved = weights()
    os.chdir("../whole")
    assert train(call, 2)[0] == 0
    assert all(torch.equal(moved[name], tensor) for name, tensor in weights().items())


def test_other_bytes_are_refused_and_change_nothing(call: Call) -> None:
    assert train(call, 1)[0] == 0
    before = Path("runs/spell/recipe.yaml").read_bytes()
    text = Path("train.x").read_text()
    Path("other.x").write_text(text.replace("0", "1"))
    status, err = train(call, 2, "data.train.source=other.x")
    assert (status, "trained with another recipe (data.train.source: " in err) == (2, True), err
    assert Path("runs/spell/recipe.yaml").read_bytes() == before
    stat = Path("train.x").stat()
    Path("train.x").write_text(text.replace("0", "1"))
    assert Path("train.x").stat().st_size == stat.st_size
    status, err = train(call, 1)
    assert (status, "trained on data that has changed since;" in err) == (2, True), err
    Path("train.x").write_text(text)
    assert train(call, 2)[0] == 0


def test_a_sweep_knows_its_data_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = ["train.epochs=1", "model.embeddings=8,12"]
    options = SweepOptions(device="cpu")
    done = sweep(Path("recipe.yaml"), sets, options)
    assert [one.state for one in done.settings] == ["finished", "finished"]
    shutil.copytree(".", "../copy", copy_function=shutil.copyfile)
    monkeypatch.chdir("../copy")
    monkeypatch.setattr("s2s.pipeline.sweeping.train", None)  # nothing is trained
    assert sweep(Path("recipe.yaml"), sets, options) == done
    assert sweep(Path("recipe.yaml"), [*sets, "data.test.source=./test.x"], options) == done
