"""Files that a URL names, in a store or on the web: read through a copy, written as a whole.

fsspec does the transport, and the package of each store the logins. It is imported where a URL is
given and not before. Only plain URLs of known stores are taken: others, which fsspec chains with
`::`, would open further files that a recipe of a stranger names.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from s2s.errors import DataError, S2sError, UsageError
from s2s.files import remove_abandoned, replace_file, temporary_beside
from s2s.messages import note

PACKAGES = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "ftp": "fsspec",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "http": "fsspec[http]",
    "https": "fsspec[http]",
    "memory": "fsspec",
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
"""The schemes of URLs, and the package of pip that each needs."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
"""A `Path` has one slash where a URL has two. A letter and a colon are a drive of Windows."""


class _Store(NamedTuple):
    """Where a URL leads."""

    system: Any
    """The file system of fsspec."""
    path: str


def url_of(name: str | Path | None) -> str | None:
    """The URL that a name is, also one that became a `Path`; None for the name of a local file."""
    if name is None or (isinstance(name, str) and "://" not in name):
        return None
    found = _URL.fullmatch(name if isinstance(name, str) else name.as_posix())
    if found is None or (isinstance(name, Path) and name.exists()):
        return None
    return f"{found[1].lower()}://{found[2]}"


def local_copy(name: str | Path) -> Path:
    """A local file with the content of a URL; the path itself of a local one.

    A URL is read once for a command. The copy is kept, and counts as long as the store gives the
    same size, time or tag. Raises DataError for what cannot be read, UsageError where the package
    of its store is missing.
    """
    url = url_of(name)
    return Path(name) if url is None else _copied(url)


@cache
def _copied(url: str) -> Path:
    store = _store(url)
    try:
        status = store.system.info(store.path)
        state = {key: value for key, value in status.items() if isinstance(value, str | int)}
        known_by = [url, store.system.ukey(store.path), sorted(state.items())]
        if status.get("type") == "directory":
            raise DataError(f"{url}: expected a file, found a folder")
        key = hashlib.sha256(repr(known_by).encode()).hexdigest()[:16]
        copy = _cache() / key / _file_name(url)
        if copy.is_file():
            return copy
        note(f"{url}: downloads {_size(status.get('size'))} to {copy}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(copy.parent)
        temporary = temporary_beside(copy)
        try:
            store.system.get_file(store.path, str(temporary))
            replace_file(temporary, copy)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except (S2sError, KeyboardInterrupt, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{url}: no such file") from None
    except Exception as error:
        raise DataError(f"{url}: cannot be read ({_reason(error)})") from error
    return copy


@contextmanager
def uploading(url: str) -> Iterator[Path]:
    """A local file to write, which becomes the content of the URL if the block raises nothing.

    The store gets it as a whole: a store of objects shows it when it is complete. Raises S2sError
    if it does not take it.
    """
    from tempfile import TemporaryDirectory

    store = _store(url)
    with TemporaryDirectory(prefix="s2s-upload-") as folder:
        path = Path(folder) / _file_name(url)
        yield path
        try:
            store.system.put_file(str(path), store.path)
        except (S2sError, KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:
            raise S2sError(f"{url}: cannot write it: {_reason(error)}") from error


def _store(url: str) -> _Store:
    """Raises UsageError for a scheme that is not known, or whose package is missing."""
    scheme = url.partition(":")[0]
    if scheme not in PACKAGES or "::" in url:
        raise UsageError(
            f"{url}: expected a file or a URL with one of {', '.join(sorted(PACKAGES))}; download "
            "it first"
        )
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        package = PACKAGES[scheme]
        raise UsageError(
            f"{url}: needs the package {package}: pip install '{package}' ({_reason(error)})"
        ) from None
    except Exception as error:
        raise DataError(f"{url}: cannot be opened ({_reason(error)})") from error
    return _Store(system, path)


def _cache() -> Path:
    """The folder of copies, in the cache of data sets and models, which HF_HOME names."""
    named = os.environ.get("HF_HOME")
    return Path(named if named else Path.home() / ".cache" / "huggingface") / "s2s-files"


def _file_name(url: str) -> str:
    """The last name in a URL, whose ending says how a table is read."""
    last = re.split(r"[?#]", url)[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+-]", "_", last)[-100:].lstrip(".") or "file"


def _size(found: object) -> str:
    return f"{found / 1e6:,.1f} MB" if isinstance(found, int) else "it"


def _reason(error: BaseException) -> str:
    """The first line of an error that a library raised."""
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__
