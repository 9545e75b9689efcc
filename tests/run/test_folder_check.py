"""A run's folder from anybody: no pipe or device is read, and nothing is written through a link."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s2s.errors import RunError, RunNotWritable
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s.run.folder_check import GIBI, MEBI, check_files
from s2s.run.summary import summarize
from s2s_cli.main import run as command_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and links of POSIX")

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 200, held_out: 10, filters: {max_dropped: 1.0}}
tokenizer: {kind: unigram, vocabulary: 80}
model: {embeddings: 8, encoder: {width: 8}, decoder: {kind: luong, width: 8}}
train: {max_updates: 3, batch_tokens: 400, schedule: {kind: constant}, precision: fp32}
search: {kind: greedy}
"""


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Run.open(Path("runs/toy"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", [pipe, device])
def test_no_pipe_or_device_is_opened(run: Run, kind: Callable[[Path], None]) -> None:
    """Reading one would never end, and `s2s runs` reads what is in the folder of all runs."""
    files = [path for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) > 12
    for path in files:
        content = path.read_bytes()
        path.unlink()
        kind(path)
        name = path.relative_to(run.folder).as_posix()
        with pytest.raises(RunError, match="is a pipe, socket or device") as error:
            check_files(run.folder, "toy")
        assert repr(name) in str(error.value)
        assert summarize(run.folder).state == "damaged"
        for command in (["translate", "--run", "toy"], ["train", "recipe.yaml"]):
            assert command_line(command) in (1, 2)
        path.unlink()
        path.write_bytes(content)
    Run.open(run.folder)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("metrics.jsonl", GIBI),
        ("recipe.yaml", MEBI),
        ("data/fingerprint", MEBI),
        ("tokenizer/tokenizers.json", GIBI),
        ("checkpoints.json", 16 * MEBI),
    ],
)
def test_sparse_files_are_not_read(run: Run, name: str, size: int) -> None:
    path = run.folder / name
    for length in (size, size + 1):
        with path.open("r+b") as file:
            file.truncate(length)
        if length == size:
            check_files(run.folder, "toy")
    with pytest.raises(RunError, match=rf"toy: '{name}' has [\d,]+ bytes, expected {size:,} at"):
        check_files(run.folder, "toy")


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_no_file_is_written_through_a_link(
    run: Run, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """`.lock` would be truncated, and the log continued in a file of the victim."""
    victim = Path("victim")
    victim.write_text("precious\n")
    (run.folder / name).unlink(missing_ok=True)
    (run.folder / name).symlink_to(victim.resolve())
    assert command_line(["average", "toy", "--last", "2"]) in (1, 2)
    assert command_line(["train", "recipe.yaml", "--restart"]) == 1
    assert f"runs/toy/{name}: a link, through which nothing is written" in capfd.readouterr().err
    with pytest.raises(RunNotWritable):
        Run.open(run.folder).append_event({"event": "evaluation"}) if name != ".lock" else (
            Run.open(run.folder).lock().__enter__()
        )
    assert victim.read_text() == "precious\n"


@pytest.mark.parametrize("name", ["checkpoints", "data", "tokenizer", "outputs", "features"])
def test_no_folder_behind_a_link_is_changed(run: Run, name: str) -> None:
    """Checkpoints are folders whose names are numbers, as are photographs by year."""
    there = Path("elsewhere")
    if (run.folder / name).exists():
        shutil.move(run.folder / name, there)
    (there / "2023").mkdir(parents=True)
    (there / ".tmp-mine").touch()
    (run.folder / name).symlink_to(there.resolve())
    before = sorted(there.rglob("*"))
    assert command_line(["train", "recipe.yaml", "--restart"]) == 1
    assert sorted(there.rglob("*")) == before


def test_the_folder_of_runs_and_a_run_may_be_links(run: Run) -> None:
    shutil.move(run.folder, "disk")
    run.folder.symlink_to(Path("disk").resolve())
    with Run.open(run.folder).lock():
        Run.create(load_recipe(Path("recipe.yaml"))).append_event({"event": "evaluation"})
    assert list(Run.open(run.folder).read_events())[-1]["event"] == "evaluation"
