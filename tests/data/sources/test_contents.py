"""A file is known by its bytes; they are read again only after the file may have changed."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from s2s.data.sources import contents
from s2s.data.sources.chunks import file_fingerprint
from s2s.data.sources.contents import HASHES_FILE, Hashes, by_content
from s2s.errors import DataError


@pytest.fixture(autouse=True)
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, in order. The hash of a new file is kept at once."""
    found: list[str] = []
    digest = hashlib.file_digest

    def counted(file, name):
        found.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**15))
    forget()
    return found


def forget() -> None:
    """As a new process begins."""
    contents._known.clear()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once_by_all_processes(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    for _ in range(3):
        assert Hashes(tmp_path).of(path) == sha256(b"abc")
        forget()
    assert reads == ["x"]
    assert Hashes().of(path) == Hashes().of(path) == sha256(b"abc")
    assert reads == ["x", "x"]  # without a folder, once for each process


def test_what_may_have_changed_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "x"
    for data in (b"abc", b"abd", b"abcd"):
        path.write_bytes(data)
        os.utime(path, ns=(len(reads), len(reads)))
        assert Hashes(tmp_path).of(path) == sha256(data)
    assert reads == ["x", "x", "x"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no time of change")
def test_a_time_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    time = path.stat().st_mtime_ns
    assert Hashes(tmp_path).of(path) == sha256(b"abc")
    while path.stat().st_mtime_ns == time:  # the clock of files has steps
        path.write_bytes(b"abd")
    os.utime(path, ns=(time, time))
    assert Hashes(tmp_path).of(path) == sha256(b"abd")


def test_a_file_that_has_just_changed_may_change_again_unseen(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 10**15)
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert Hashes(tmp_path).of(path) == Hashes(tmp_path).of(path)
    assert reads == ["x", "x"]
    assert not (tmp_path / HASHES_FILE).exists()


@pytest.mark.parametrize(
    "damaged", [b"", b"[]", b"\xff", b'{"format": 1, "files": {"x": 1}}', b"[" * 100_000]
)
def test_damaged_hashes_are_made_again(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    (tmp_path / HASHES_FILE).write_bytes(damaged)
    assert Hashes(tmp_path).of(path) == sha256(b"abc")
    kept = json.loads((tmp_path / HASHES_FILE).read_text())
    assert [found for _, found in kept["files"].values()] == [sha256(b"abc")]


def test_several_commands_keep_the_hashes_of_all(tmp_path: Path) -> None:
    one, other = Hashes(tmp_path), Hashes(tmp_path)
    for name, hashes in (("a", one), ("b", other), ("c", one)):
        (tmp_path / name).write_text(name)
        hashes.of(tmp_path / name)
    kept = json.loads((tmp_path / HASHES_FILE).read_text())["files"]
    assert {Path(place).name for place in kept} == {"a", "b", "c"}


def test_a_folder_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(contents, "atomic_write", full)
    assert Hashes(tmp_path).of(path) == sha256(b"abc")
    assert Hashes(tmp_path / "nowhere").of(path) == sha256(b"abc")
    assert not (tmp_path / "nowhere").exists()


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: cannot be read \(No such file"):
        Hashes().of(tmp_path / "nowhere")


def test_long_files_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contents, "LONG_BYTES", 3)
    (tmp_path / "x").write_bytes(b"abc")
    for _ in range(2):
        Hashes().of(tmp_path / "x")
    assert capsys.readouterr().err.count("read once to know it by its content (0.0 GB)") == 1


def test_only_what_is_in_a_file_identifies_it(tmp_path: Path) -> None:
    """And what decides how it is read: the end of its name, a list of ids beside it."""
    for name in ("a.npy", "b.npy", "c.npz"):
        (tmp_path / name).write_bytes(b"abc")
    (tmp_path / "a.ids").write_text("1")

    def known(name: str, suffix: str = "", beside: str = "nothing") -> object:
        stamp = file_fingerprint(tmp_path / name, suffix, tmp_path / beside)
        return by_content({"files": [stamp], "seed": 1}, Hashes())

    assert known("a.npy") == known("b.npy")
    assert known("a.npy") == {"files": [{"sha256": sha256(b"abc")}], "seed": 1}
    assert known("a.npy", ".npy") != known("c.npz", ".npz")
    with_ids = known("a.npy", ".npy", "a.ids")
    assert with_ids != known("a.npy", ".npy")
    (tmp_path / "a.ids").write_text("12")
    assert known("a.npy", ".npy", "a.ids") != with_ids
