"""What every command needs is there on Windows and macOS too, as far as Linux can tell."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2s import files
from tests.commands import INPUT, RECIPE, pairs

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="stands for other systems by means of Linux"
)

PROGRAM = Path(__file__).with_name("windows.py")


def write(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8", newline="\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a user brings, in the current folder."""
    monkeypatch.chdir(tmp_path)
    recipe = RECIPE.replace("kind: word", "kind: unigram, vocabulary: 40, sampling: {alpha: 0.5}")
    write("recipe.yaml", recipe.replace("train:\n  epochs", "train:\n  keep: 2\n  epochs"))
    for number, (split, count) in enumerate((("train", 300), ("validation", 20), ("test", 20))):
        found = pairs(count, seed=number)
        write(f"{split}.x", "".join(f"{source}\n" for source, _ in found))
        write(f"{split}.y", "".join(f"{target}\n" for _, target in found))
    return tmp_path


def as_on_windows(*calls: list[str]) -> subprocess.CompletedProcess[str]:
    write("calls.json", json.dumps(calls))
    return subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", str(PROGRAM), "calls.json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_commands_do_without_what_windows_lacks(here: Path) -> None:
    """And without what it refuses; a line for a line, in UTF-8, whatever the system's own."""
    Path("4.in").write_bytes(INPUT.encode())
    train = ["train", "recipe.yaml", "--device", "cpu"]
    constant = ["--set", "train.schedule={kind: constant}"]
    done = as_on_windows(
        ["prep"],
        [*train, *constant, "--set", "train.epochs=2"],
        [*train, *constant, "--set", "train.epochs=3"],
        ["prep", "--force", "--set", "name=other"],
        ["translate", "--run", "spell"],
        ["bleu", "--run", "spell", "--json"],
        ["average", "spell"],
        [*train, "--restart", "--set", "train.epochs=1"],
        ["bench", "recipe.yaml", "--quick", "--repeats", "1", "--only", "training", "--json"],
        ["recipes", "show", "g2p-hun"],
    )
    assert done.returncode == 0, done.stderr
    output = Path("4.out").read_bytes()
    assert output.count(b"\n") == INPUT.count("\n") + 1
    assert b"\r" not in output
    assert json.loads(Path("5.out").read_bytes())
    shown = (PROGRAM.parents[1] / "recipes" / "g2p-hun.yaml").read_bytes()
    assert not shown.isascii()
    assert Path("9.out").read_bytes() == shown
    assert not list(here.rglob(f"{files.TEMPORARY}*"))
    # A last epoch is mapped to the end of its training, so the next one deletes it.
    assert len(list(here.rglob("sampling*/*"))) <= 1


def test_the_stand_in_lacks_and_refuses(here: Path) -> None:
    """So that the test above can fail."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(PROGRAM.parent)!r})
import windows
windows.lack()
windows.refuse()
found = []
def attempt(name, work):
    try:
        work()
    except (OSError, ImportError, AttributeError) as error:
        found.append(name)
Path("open").write_bytes(b"1")
file = Path("open").open("rb")
attempt("import", lambda: exec("import resource", {{"__name__": "s2s.training.memory_usage"}}))
attempt("load", lambda: os.getloadavg())
attempt("flush", lambda: os.fsync(file.fileno()))
attempt("delete", lambda: Path("open").unlink())
attempt("replace", lambda: Path("recipe.yaml").replace("open"))
file.close()
attempt("deleted when closed", lambda: Path("open").unlink())
import pyarrow as pa
Path("mapped").mkdir()
Path("mapped/file").write_bytes(b"12345")
with pa.memory_map("mapped/file") as mapped:
    held = mapped.read_buffer()
attempt("delete mapped", lambda: Path("mapped/file").unlink())
attempt("rename folder", lambda: Path("mapped").rename("other"))
del held, mapped
attempt("deleted when unmapped", lambda: Path("mapped/file").unlink())
print(*found, sep=", ")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        "import, load, flush, delete, replace, delete mapped, rename folder"
    )


def test_a_file_that_nobody_may_write_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Windows through a descriptor for writing, with the right to it for as long as it takes."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o444)
    opened: list[tuple[int, int]] = []
    whole = os.open

    def refused(place: Path, mode: int) -> int:
        """As for a user who is not root."""
        rights = place.stat().st_mode & 0o777
        opened.append((mode, rights))
        if mode != os.O_RDONLY and not rights & 0o200:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return whole(place, mode)

    monkeypatch.setattr(os, "open", refused)
    files.sync_file(path)
    assert opened == [(os.O_RDWR, 0o444), (os.O_RDONLY, 0o444)]
    opened.clear()
    monkeypatch.setattr(files, "IS_WINDOWS", True)
    files.sync_file(path)
    assert opened == [(os.O_RDWR, 0o444), (os.O_RDWR, 0o600)]
    assert path.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("is_windows", [True, False])
def test_what_others_have_open_is_waited_for_on_windows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_windows: bool
) -> None:
    waited: list[float] = []
    refusals = [PermissionError(errno.EACCES, "in use")] * 2
    whole = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return whole(self, target)

    monkeypatch.setattr(files, "IS_WINDOWS", is_windows)
    monkeypatch.setattr(files.time, "sleep", waited.append)
    monkeypatch.setattr(Path, "replace", refused)
    path = tmp_path / "file"
    path.write_bytes(b"old")
    if is_windows:
        files.atomic_write(path, "new")
        assert path.read_bytes() == b"new"
        assert waited == list(files.PAUSES[:2])
        refusals.extend([PermissionError(errno.EACCES, "in use")] * 20)
    with pytest.raises(PermissionError):
        files.atomic_write(path, "newer")
    assert len(waited) == (2 + len(files.PAUSES) if is_windows else 0)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
