"""Runs and recipes made before keys and modules were renamed still work, in every command.

`made_before/` was written by s2s 0.1.0 at commit 4387caa:

    for name in verbs captions; do s2s train $name.yaml; done
    s2s translate --run verbs --search beam --beam 3 < verbs.in > verbs.out
    s2s translate --run captions < captions.in > captions.out

`verbs` has source features, `captions` image features. Their data were known by path, size and time
of their files (docs/decisions/0006), so the test gives the files the time they had. The first
command that writes to such a run lets it know them by content.
"""

import os
import shutil
from pathlib import Path

import pytest

from s2s.recipe import load
from tests.commands import Call, call  # noqa: F401

MADE = Path(__file__).with_name("made_before")
TIME = 1_700_000_000

RENAMED = {
    "verbs": {
        "data.columns.features is now called data.columns.source_features",
        "tokenizer.features is now called tokenizer.source_features",
    },
    "captions": {
        "data.features is now called data.image_features",
        "model.features is now called model.image_features",
    },
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as it was left: files of data, recipes, runs."""
    for path in MADE.iterdir():
        if path.is_dir():
            shutil.copytree(path, tmp_path / "runs" / path.name)
        else:
            os.utime(shutil.copy(path, tmp_path), (TIME, TIME))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    load._report.cache_clear()
    return tmp_path


def renamed(err: str, place: str) -> set[str]:
    """What is said of keys, which stand in a file at a line."""
    lines = [line for line in err.splitlines() if "is now called" in line]
    assert all(line.startswith(f"s2s: {place}:") for line in lines), err
    return {line.partition(": ")[2].partition(": ")[2] for line in lines}


@pytest.mark.parametrize("name", ["verbs", "captions"])
def test_an_old_recipe_is_read_and_its_keys_are_named(call: Call, name: str) -> None:  # noqa: F811
    status, out, err = call("check", "--no-data", f"{name}.yaml")
    assert (status, out.decode().startswith(f"{name}.yaml: ok")) == (0, True)
    assert renamed(err, f"{name}.yaml") == RENAMED[name]


@pytest.mark.parametrize(
    ("name", "options"), [("verbs", ["--search", "beam", "--beam", "3"]), ("captions", [])]
)
def test_an_old_run_translates_as_it_did(call: Call, name: str, options: list[str]) -> None:  # noqa: F811
    written = (MADE / f"{name}.in", MADE / f"{name}.out")
    source, expected = (path.read_bytes() for path in written)
    status, out, err = call("translate", "--run", name, *options, stdin=source)
    assert (status, out) == (0, expected)
    assert renamed(err, f"runs/{name}/recipe.yaml") == RENAMED[name]


@pytest.mark.parametrize("name", ["verbs", "captions"])
def test_an_old_run_is_scored(call: Call, name: str) -> None:  # noqa: F811
    status, out, _ = call("evaluate", "--run", name, "--split", "validation")
    assert status == 0
    assert ("exact" if name == "verbs" else "BLEU") in out.decode()


def data_of(name: str) -> dict[Path, int]:
    """The times of the files of data, without the fingerprint."""
    files = Path("runs", name, "data").iterdir()
    return {path: path.stat().st_mtime_ns for path in files if path.name != "fingerprint"}


@pytest.mark.parametrize("name", ["verbs", "captions"])
def test_an_old_run_knows_its_data_by_content_after_one_command(
    call: Call,  # noqa: F811
    name: str,
    tmp_path: Path,
) -> None:
    """Which is then the same in a copy with other times; a run that was copied before is not."""
    before, after = (tmp_path.with_name(f"{name}-{when}") for when in ("before", "after"))
    shutil.copytree(".", before)
    assert call("prep", f"{name}.yaml")[0] == 0
    shutil.copytree(".", after)
    epochs = ("--set", "train.epochs=41")
    for folder in (before, after):
        for path in folder.iterdir():
            os.utime(path, (TIME + 1, TIME + 1))
    os.chdir(before)
    status, line = call.fault("prep", f"{name}.yaml", *epochs)
    assert status == 2
    assert "has changed since, or was copied (an earlier s2s knew files by path and time)" in line
    os.chdir(after)
    status, _, err = call("train", f"{name}.yaml", *epochs)
    assert (status, "training resumes at update" in err) == (0, True), err


@pytest.mark.parametrize(("name", "update", "epochs"), [("verbs", 120, 41), ("captions", 80, 41)])
def test_training_resumes_on_the_data_that_were_prepared(
    call: Call,  # noqa: F811
    name: str,
    update: int,
    epochs: int,
) -> None:
    data = data_of(name)
    status, _, err = call("train", f"{name}.yaml", "--set", f"train.epochs={epochs}")
    assert status == 0, err
    assert f"training resumes at update {update}" in err
    assert f"{update + update // 40} updates" in err
    assert data_of(name) == data
    # The run's own recipe has the new keys now, so nothing is said of it.
    load._report.cache_clear()
    status, out, err = call("translate", "--run", name, stdin=(MADE / f"{name}.in").read_bytes())
    assert (status, "is now called" in err) == (0, False)
    assert out.count(b"\n") == (MADE / f"{name}.in").read_bytes().count(b"\n")
