"""Files that URLs name, in the store in memory that fsspec has."""

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from s2s.errors import DataError, S2sError, UsageError
from s2s.text import remote
from s2s.text.lines import count_lines, open_input, read_lines
from s2s.text.remote import local_copy, uploading, url_of


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The store, empty, and a cache of its own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    remote._copied.cache_clear()
    yield system
    remote._copied.cache_clear()
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("s3://bucket/a b.tsv", "s3://bucket/a b.tsv"),
        (Path("s3://bucket/a"), "s3://bucket/a"),
        ("HTTPS://host/a?b=c", "https://host/a?b=c"),
        ("train.de", None),
        ("a/b:c", None),
        ("s3:/bucket", None),
        (Path("C:/data"), None),
        (Path("a:b"), None),
        (Path("/a://b"), None),
        (None, None),
    ],
)
def test_a_url_has_a_scheme(name: str | Path | None, url: str | None) -> None:
    assert url_of(name) == url


def test_a_local_file_that_looks_like_one_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "a").write_text("x")
    assert url_of(Path("s3:/a")) is None
    assert local_copy(Path("s3:/a")) == Path("s3:/a")


def test_a_copy_is_made_once_until_the_file_changes(
    store: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    store.pipe("/data/train.tsv.gz", gzip.compress(b"a\tb\n"))
    url = "memory://data/train.tsv.gz"
    copy = local_copy(url)
    assert copy.name == "train.tsv.gz"
    assert gzip.decompress(copy.read_bytes()) == b"a\tb\n"
    assert capfd.readouterr().err.startswith(f"s2s: {url}: downloads 0.0 MB to ")
    remote._copied.cache_clear()  # another command
    assert local_copy(Path(url)) == copy
    assert capfd.readouterr().err == ""
    store.pipe("/data/train.tsv.gz", gzip.compress(b"a\tbc\n"))
    assert local_copy(url) == copy, "a command reads one state of a file"
    remote._copied.cache_clear()
    assert gzip.decompress(local_copy(url).read_bytes()) == b"a\tbc\n"
    assert not list(copy.parent.glob(".tmp-*"))


def test_text_is_read_as_that_of_a_file(store: Any) -> None:
    store.pipe("/a.txt", b"a\r\nb")
    store.pipe("/a.gz", gzip.compress(b"c\n"))
    assert list(read_lines("memory://a.txt")) == ["a", "b"]
    assert count_lines(Path("memory://a.gz")) == 1
    with open_input(Path("memory://a.gz")) as file:
        assert file.read() == b"c\n"


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory://data/no", DataError, "memory://data/no: no such file"),
        ("memory://data", DataError, "memory://data: expected a file, found a folder"),
        ("gopher://a/b", UsageError, "gopher://a/b: expected a file or a URL with one of abfs, "),
        ("reference://a/b", UsageError, "reference://a/b: expected a file or a URL with one of"),
        ("memory://a::s3://b", UsageError, "memory://a::s3://b: expected a file or a URL with"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    store: Any, url: str, error: type[S2sError], message: str
) -> None:
    store.pipe("/data/a", b"")
    with pytest.raises(error) as found:
        local_copy(url)
    assert str(found.value).startswith(message)
    assert "\n" not in str(found.value)


def test_a_missing_package_is_named(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def url_to_fs(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", url_to_fs)
    with pytest.raises(UsageError, match=r"^s3://a/b: needs the package s3fs: pip install 's3fs'"):
        local_copy("s3://a/b")


def test_faults_of_a_store_are_one_line(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Access Denied\nat line 3")

    store.pipe("/a", b"x")
    monkeypatch.setattr(type(store), "get_file", fail)
    monkeypatch.setattr(type(store), "put_file", fail)
    with pytest.raises(DataError, match=r"^memory://a: cannot be read \(Access Denied\)$"):
        local_copy("memory://a")
    with (
        pytest.raises(S2sError, match=r"^memory://b: cannot write it: Access Denied$"),
        uploading("memory://b") as path,
    ):
        path.write_text("x")


def test_a_file_is_uploaded_as_a_whole_or_not(store: Any) -> None:
    with uploading("memory://out/a.gz") as path:
        assert path.name == "a.gz"
        path.write_bytes(b"new")
        assert not store.exists("/out/a.gz")
    assert store.cat("/out/a.gz") == b"new"
    with pytest.raises(S2sError, match=r"^stop$"), uploading("memory://out/a.gz") as path:
        path.write_bytes(b"half")
        raise S2sError("stop")
    assert store.cat("/out/a.gz") == b"new"


def test_fsspec_is_imported_for_urls_alone(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a\n")
    program = (
        "import sys; from s2s.text.lines import read_lines; print(list(read_lines(sys.argv[1])));"
        "assert 'fsspec' not in sys.modules"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "in")]
    assert subprocess.check_output(command, text=True) == "['a']\n"
