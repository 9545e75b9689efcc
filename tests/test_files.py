"""Files and folders are whole or absent, whichever step of writing them fails."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from s2s import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, nth: int) -> None:
    """Make the nth call of `owner.name` fail as a full disk does."""
    original = getattr(owner, name)
    calls = 0

    def wrapped(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, wrapped)


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    files.atomic_write(path, "a long first content")
    files.atomic_write(path, "ü\r\n")
    assert path.read_bytes() == "ü\r\n".encode()
    files.atomic_write(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch, owner, name) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    fail_at(monkeypatch, owner, name, 1)
    with pytest.raises(OSError, match="No space left"):
        files.atomic_write(path, "new")
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "old"


# ------------------------------------------------------------------- left by killed processes

WRITER = """
import os, sys, time
from pathlib import Path
from s2s.files import atomic_write

os.fsync = lambda _: (print("written", flush=True), time.sleep(3600))
atomic_write(Path(sys.argv[1]), "x" * 100)
"""


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written a temporary file and does not get further."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        try:
            yield process
        finally:
            process.kill()


def test_what_a_killed_process_leaves_goes_and_what_a_live_one_writes_stays(
    tmp_path: Path,
) -> None:
    with writing(tmp_path / "data") as process:
        files.remove_abandoned(tmp_path)
        (left,) = names(tmp_path)
        assert left.startswith(".tmp-data-")
    process.wait()
    assert names(tmp_path) == [left]
    files.remove_abandoned(tmp_path)
    assert names(tmp_path) == []


def test_under_a_lock_what_is_written_under_it_goes_in_any_case(tmp_path: Path) -> None:
    with writing(tmp_path / "data"):
        files.remove_abandoned(tmp_path, is_locked=["dat", "data-"])
        assert len(names(tmp_path)) == 1
        files.remove_abandoned(tmp_path, is_locked=["data"])
        assert names(tmp_path) == []


def test_names_of_earlier_versions_and_other_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another host a process number says nothing, so a day without a write has to pass."""
    (tmp_path / "kept").write_text("")
    (tmp_path / ".tmp-data-0a1b2c3d").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_host", lambda: "00000000")
        there = files.temporary_beside(tmp_path / "x")
    there.write_text("")
    files.remove_abandoned(tmp_path)
    assert names(tmp_path) == [there.name, "kept"]
    day_ago = time.time() - 90_000
    os.utime(there, (day_ago, day_ago))
    files.remove_abandoned(tmp_path)
    assert names(tmp_path) == ["kept"]


def test_a_process_with_the_number_of_a_dead_one_is_not_the_writer(tmp_path: Path) -> None:
    """In a container each command has the same number."""
    own = files.temporary_beside(tmp_path / "x")
    own.write_text("")
    files.remove_abandoned(tmp_path)
    assert own.exists()
    before = psutil.Process().create_time() - 2 * files.CLOCK_SECONDS
    os.utime(own, (before, before))
    files.remove_abandoned(tmp_path)
    assert not own.exists()


def test_a_folder_that_is_missing_has_nothing_left(tmp_path: Path) -> None:
    files.remove_abandoned(tmp_path / "nowhere")


def test_a_folder_replaces_another(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with files.atomic_folder(tmp_path / "target") as folder:
            (folder / content).write_text(content)
            (folder / "deep").mkdir()
        assert names(tmp_path / "target") == ["deep", content]
    assert names(tmp_path) == ["target"]


def test_a_folder_whose_block_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(KeyboardInterrupt), files.atomic_folder(tmp_path / "target") as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == []


@pytest.mark.parametrize(
    ("owner", "name", "nth"), [(os, "fsync", 1), (Path, "rename", 1), (Path, "rename", 2)]
)
def test_a_folder_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch, owner, name, nth
) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    fail_at(monkeypatch, owner, name, nth)
    with (
        pytest.raises(OSError, match="No space left"),
        files.atomic_folder(tmp_path / "target") as folder,
    ):
        (folder / "new").touch()
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["old"]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    files.temporary_beside(tmp_path / "folder").mkdir()
    files.temporary_beside(tmp_path / "file").touch()
    (tmp_path / "tmp-mine").touch()
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == ["tmp-mine"]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_json_may_be_nested_only_so_deeply(opening: str, closing: str) -> None:
    """Code that walks through a value would end in a RecursionError far before the parser does."""

    def nested(depth: int) -> str:
        return opening * depth + "1" + closing * depth

    assert files.parse_json(nested(files.DEEPEST_JSON))
    for depth in (files.DEEPEST_JSON + 1, 400, 900, 200_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            files.parse_json(nested(depth))
    wide = json.dumps([[], {}, "[[[[", [["["]]] * 1000)
    assert files.parse_json(wide) == json.loads(wide)
