"""Files and folders are whole or absent, whichever step of writing them fails."""

import errno
import os
from pathlib import Path

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
