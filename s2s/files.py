"""Atomic files and folders: complete or absent, also after a power failure.

They are written under a temporary name beside their target, flushed to the disk, then renamed. The
temporary name begins with `.tmp-` and ends with the host and the process that writes; files left by
a crash are never read, and later commands delete them.
"""

import gzip
import io
import json
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

TEMPORARY = ".tmp-"

GZIP_MAGIC = b"\x1f\x8b"
"""First bytes of a gzip file (RFC 1952, section 2.3.1), which are not UTF-8."""

IS_WINDOWS = os.name == "nt"

PAUSES = (0.01, 0.05, 0.2, 0.5, 1.0)
"""Seconds between attempts to move a file on Windows, which refuses as long as any program, such as
a virus scanner, has the file or its target open."""


ABANDONED_SECONDS = 86_400
"""Seconds without a write after which a temporary file has been abandoned, also on another host."""

CLOCK_SECONDS = 60.0
"""Seconds by which the clocks of files and processes may differ."""

MOST_JSON = 1 << 24
"""The most bytes of a JSON file that is read as a whole, but for vocabularies."""

MOST_NAMES = 10_000
"""Names of a folder among which that of a missing file is looked for."""

DEEPEST_JSON = 100
"""The most lists and objects within each other: code that walks through a value calls itself."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(content: str | bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises ValueError for anything else, also for one nested too deeply and for text that no file
    can hold (half of a surrogate pair).
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    try:
        value = json.loads(text)
        is_deep = text.count("[") + text.count("{") > DEEPEST_JSON and _is_deep(value)
    except RecursionError:
        is_deep = True
    if is_deep:
        raise ValueError("nested too deeply")
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _is_deep(value: Any) -> bool:
    """Whether a value of JSON is nested more deeply than `DEEPEST_JSON`."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST_JSON):
        within = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for each in within for one in each if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def read_json(path: Path, most: int = MOST_JSON) -> Any:
    """The value in a JSON file of at most so many bytes; raises OSError, and as `parse_json`, also
    for a pipe or device, which might never end."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise ValueError("a pipe or device, expected a file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return parse_json(content)


def did_you_mean_file(path: str | Path) -> str:
    """`; did you mean 'x'?` for the file beside a missing one whose name is closest; else empty."""
    from difflib import get_close_matches

    place = Path(path)
    near: list[str] = []
    with suppress(OSError, ValueError):
        names = [entry.name for entry in islice(os.scandir(place.parent), MOST_NAMES)]
        near = get_close_matches(place.name[:255], names, n=1, cutoff=0.85)
    return f"; did you mean '{place.with_name(near[0])}'?" if near else ""


def temporary_beside(path: Path) -> Path:
    """A unique name beside `path`, which ends with its owner: the host and the process.

    The tempfile module would make the file readable only to its owner, not to colleagues.
    """
    owner = f"{_host()}-{os.getpid()}"
    return path.with_name(f"{TEMPORARY}{path.name}-{owner}-{secrets.token_hex(4)}")


@cache
def _host() -> str:
    """Eight digits that stand for this host: process ids mean something on their own host only."""
    return blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk.

    Windows only flushes descriptors for writing, so a read-only file is made writable meanwhile.
    Elsewhere, a read-only file is flushed through a descriptor for reading.
    """
    try:
        _sync(path, os.O_RDWR)
    except PermissionError:
        if not IS_WINDOWS:
            _sync(path, os.O_RDONLY)
            return
        path.chmod(stat.S_IREAD | stat.S_IWRITE)  # Windows has no other rights here
        try:
            _sync(path, os.O_RDWR)
        finally:
            path.chmod(stat.S_IREAD)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries (names created, renamed, deleted) to the disk."""
    if not IS_WINDOWS:  # Windows cannot open a folder, and journals renames itself
        _sync(path, os.O_RDONLY)


def _sync(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Flush every file and folder below `root`, and `root` itself."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync_file(Path(folder, name))
        sync_folder(Path(folder))


def replace_file(source: Path, target: Path) -> None:
    """Move a file to `target`, replacing any file there."""
    _move_with_retries(source.replace, target)


def rename_folder(source: Path, target: Path) -> None:
    """Rename a folder; `target` must not exist."""
    _move_with_retries(source.rename, target)


def _move_with_retries(move: Callable[[Path], Path], target: Path) -> None:
    for pause in PAUSES if IS_WINDOWS else ():
        try:
            move(target)
            return
        except PermissionError:
            time.sleep(pause)
    move(target)


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that interrupted writers have left in `folder`.

    Call it only under the lock of the run, so that no other process is writing.
    """
    for path in sorted(folder.glob(f"{TEMPORARY}*")):
        remove(path)


def remove_abandoned(folder: Path, *, is_locked: Collection[str] = ()) -> None:
    """Delete the temporary files in `folder` whose writers have ended; no lock is needed.

    Those whose target has one of the names `is_locked` are written under a lock that the caller
    holds, so they go in any case. What cannot be deleted stays for the next call.
    """
    with suppress(OSError):
        for path in sorted(folder.glob(f"{TEMPORARY}*")):
            if _target_of(path.name) in is_locked or _is_abandoned(path):
                with suppress(OSError):
                    remove(path)


_OWNED = re.compile(r"-(?P<host>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}$")
_UNOWNED = re.compile(r"-[0-9a-f]{8}$")
"""The end of a temporary name, and what it was in earlier versions."""


def _target_of(name: str) -> str:
    """The name of the file that a temporary one was to become."""
    end = _OWNED.search(name) or _UNOWNED.search(name)
    return name[len(TEMPORARY) : end.start() if end else None]


def _is_abandoned(path: Path) -> bool:
    """Whether no process writes a temporary file any more: its process is gone, or nothing was
    written for a day. Names of earlier versions have no owner."""
    owned = _OWNED.search(path.name)
    if owned is None:
        return True
    written = path.stat().st_mtime
    if owned["host"] == _host() and not _may_write(int(owned["process"]), written):
        return True
    return time.time() - written > ABANDONED_SECONDS


def _may_write(process: int, written: float) -> bool:
    """Whether the process runs that wrote a file then; a younger one has only got its number, as
    each first process of a container has."""
    import psutil

    try:
        return bool(psutil.Process(process).create_time() < written + CLOCK_SECONDS)
    except (psutil.NoSuchProcess, OverflowError):
        return False
    except psutil.Error:  # it is another user's
        return True


def atomic_write(path: Path, content: str | bytes) -> None:
    """Replace the file `path` by `content` (text as UTF-8, its line ends untouched)."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def atomic_gzip(path: Path) -> Iterator[BinaryIO]:
    """Yield a gzip file to write, which replaces `path` if the block raises nothing."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
            yield cast(BinaryIO, file)
        sync_file(temporary)
        replace_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_output(path: Path, content: str | bytes) -> None:
    """Replace the file `path` by `content`, or write it on stdout if the path is `-`.

    A file that is named `.gz` is compressed.
    """
    data = content.encode() if isinstance(content, str) else content
    if str(path) != "-":
        atomic_write(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def unzipped(content: bytes, most: int = -1) -> bytes:
    """The content of a gzip file, and any other as it is; of a gzip file `most` bytes, if given: a
    small one may hold very much. Raises OSError for a damaged one."""
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(most)
    except (EOFError, zlib.error) as error:
        raise gzip.BadGzipFile(f"damaged or truncated gzip file: {error}") from error


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`, which replaces it if the block raises nothing.

    A folder at `target` stays if the block fails. A crash between the two renames leaves no
    `target`, never an incomplete one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        _replace_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(target.parent)


def _replace_folder(new: Path, target: Path) -> None:
    """Rename `new` to `target`; a folder cannot be renamed over one that has content."""
    if not target.exists():
        rename_folder(new, target)
        return
    old = temporary_beside(target)
    rename_folder(target, old)
    try:
        rename_folder(new, target)
    except BaseException:
        rename_folder(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
