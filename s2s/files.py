"""Files and folders that are either complete or not there, whatever instant the power fails.

Everything is written under a temporary name beside its target, flushed to the disk, then renamed.
The temporary name opens with `.tmp-`; one left behind by a crash is never read and may be deleted.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"


def temporary_beside(path: Path) -> Path:
    """A name next to `path` that nobody else uses.

    The tempfile module would make it readable to its owner only, hiding a run from colleagues.
    """
    return path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}")


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries (names created, renamed, deleted) to the disk."""
    if os.name != "nt":  # Windows cannot open a folder, and journals renames by itself
        sync_file(path)


def sync_tree(root: Path) -> None:
    """Flush every file and folder below `root`, and `root` itself."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync_file(Path(folder, name))
        sync_folder(Path(folder))


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
        temporary.replace(path)
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
        new.rename(target)
        return
    old = temporary_beside(target)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
