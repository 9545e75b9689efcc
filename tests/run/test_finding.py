"""A run is found by its name or its folder; without a name it is the newest."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from s2s.errors import UsageError
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.run.finding import find_run, newest_run
from tests.places import ROOT


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(ROOT / "recipes" / "quickstart.yaml")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^.*runs: no trained run here; 's2s train' makes one"):
        newest_run(tmp_path / "runs")


def test_runs_are_found_by_name_and_by_folder(recipe: Recipe, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    run = Run.create(recipe, root)
    assert find_run("quickstart", root).folder == run.folder
    assert find_run(str(run.folder), Path("elsewhere")) == run
    with pytest.raises(
        UsageError, match=r"^quikstart: no such run.*did you mean 'quickstart'\?.*has quickstart$"
    ):
        find_run("quikstart", root)


def test_the_newest_run_is_the_one_that_saved_last(recipe: Recipe, tmp_path: Path) -> None:
    first = Run.create(recipe, tmp_path)
    second = Run.create(dataclasses.replace(recipe, name="second"), tmp_path)
    Run.create(dataclasses.replace(recipe, name="untrained"), tmp_path)
    for run in (second, first):
        run.write_checkpoint(1, {"a": torch.zeros(2)})
    os.utime(second.folder / "checkpoints.json", ns=(0, 1))
    assert newest_run(tmp_path) == first
