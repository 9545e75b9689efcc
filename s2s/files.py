"""Files and folders that are either complete or not there, whatever instant the power fails.

Everything is written under a temporary name beside its target, flushed to the disk, then renamed.
The temporary name opens with `.tmp-`; one left behind by a crash is never read and may be deleted.
"""

import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"

IS_WINDOWS = os.name == "nt"

PAUSES = (0.01, 0.05, 0.2, 0.5, 1.0)
"""Seconds to wait, one after the other, where Windows refuses to move something: nobody may have it
open there, nor what it is to replace, be it a command that reads it or a virus scanner."""


def temporary_beside(path: Path) -> Path:
    """A name next to `path` that nobody else uses.

    The tempfile module would make it readable to its owner only, hiding a run from colleagues.
    """
    return path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}")


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk.

    Windows flushes through descriptors for writing alone. A file that may only be read is flushed
    through one for reading, on Windows with the right to write for as long as that takes.
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
    if not IS_WINDOWS:  # it cannot open a folder, and journals renames by itself
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
    """Put a file in the place of another, or where there is none."""
    _patiently(source.replace, target)


def rename_folder(source: Path, target: Path) -> None:
    """Give a folder a name that no other has."""
    _patiently(source.rename, target)


def _patiently(move: Callable[[Path], Path], target: Path) -> None:
    for pause in PAUSES if IS_WINDOWS else ():
        try:
            move(target)
            return
        except PermissionError:
            time.sleep(pause)
    move(target)


def remove(path: Path) -> None:
    """Delete a file or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that never finished have left in `folder`.

    Call it only where no other writer can be at work: under the run's lock.
    """
    for path in sorted(folder.glob(f"{TEMPORARY}*")):
        remove(path)


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
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place when the block ends well.

    A folder already at `target` is replaced; the block that fails leaves it as it was. Between the
    two renames a crash leaves no `target` at all, never half of one.
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
