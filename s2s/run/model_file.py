"""An exported model in one file: a zip archive whose members are not compressed.

A zip archive lists all names and sizes at its end, so that they are checked before a byte is
unpacked, and every system opens it. Weights barely compress; without compression no archive can
unpack to more than its own size. The order and the times of members are fixed: the same model gives
the same bytes.

Reading unpacks it into a temporary folder, which is deleted when the process ends: weights are
mapped, and the processes of `--workers` read them too.
"""

import shutil
import stat
import struct
import tempfile
import zipfile
from pathlib import Path

from s2s.errors import RunError
from s2s.files import replace_file, sync_file, sync_folder, temporary_beside
from s2s.run.exported import INFO, is_allowed, size_limit

SUFFIX = ".s2s"
MOST_FILES = 64
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member: the first that a zip archive can state."""
_MODE = (stat.S_IFREG | 0o644) << 16
_BLOCK = 1 << 20

_DAMAGED = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError),
    *(OverflowError, struct.error),
)
"""What the library raises for other files than zip archives."""

_unpacked: dict[tuple[str, int, int, int], tempfile.TemporaryDirectory[str]] = {}
"""What this process has unpacked, by path, inode, time and size of the file."""


def write_model_file(folder: Path, path: Path) -> None:
    """Write an exported model into a file, replacing any; raises OSError if the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), EPOCH)
                entry.create_system = 3  # whose modes are those of Unix, on every system
                entry.external_attr = _MODE
                entry.file_size = file.stat().st_size  # beyond 4 GB the header is another
                with file.open("rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, _BLOCK)
        sync_file(temporary)
        replace_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def unpacked(path: Path) -> Path:
    """The folder of a model file's content, which lasts as long as this process.

    Raises RunError for a file that is damaged, no exported model, or would write elsewhere.
    """
    try:
        found = path.stat()
        key = (str(path.resolve()), found.st_ino, found.st_mtime_ns, found.st_size)
        if key not in _unpacked:
            _unpacked[key] = _unpack(path, found.st_size)
        return Path(_unpacked[key].name, path.name.removesuffix(SUFFIX) or "model")
    except _DAMAGED as error:
        raise RunError(f"{path}: damaged, or not a file of 's2s export'") from error
    except OSError as error:
        raise RunError(f"{path}: cannot unpack it: {error.strerror or error}") from error


def _unpack(path: Path, size: int) -> "tempfile.TemporaryDirectory[str]":
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check(path, entries, size)
        there = tempfile.TemporaryDirectory(prefix="s2s-model-", ignore_cleanup_errors=True)
        try:
            root = Path(there.name, path.name.removesuffix(SUFFIX) or "model")
            for entry in entries:
                target = root / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)  # raises BadZipFile for a wrong CRC
        except BaseException:
            there.cleanup()
            raise
    return there


def _check(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    """Raises RunError unless all members are plain files of an exported model, of sound sizes."""
    names = [entry.filename for entry in entries]
    if INFO not in names or len(names) > MOST_FILES:
        raise RunError(f"{path}: not a file of 's2s export' (no {INFO} in it)")
    if len(set(names)) != len(names):
        raise RunError(f"{path}: refused: a name occurs twice in it")
    for entry in entries:
        if reason := _fault(entry):
            raise RunError(f"{path}: refused: {entry.filename[:80]!r} in it {reason}")
    if sum(entry.file_size for entry in entries) > size:
        raise RunError(f"{path}: refused: its members claim more bytes than the file has")


def _fault(entry: zipfile.ZipInfo) -> str | None:
    """Why a member is refused; None if it is sound."""
    # Some systems store no mode, which is 0 then.
    mode = stat.S_IFMT(entry.external_attr >> 16)
    limit = size_limit(entry.filename)
    if not is_allowed(entry.filename):
        return "is no file of a model"
    if mode not in (0, stat.S_IFREG):
        return "is no plain file"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        return "is compressed"
    if limit is not None and entry.file_size > limit:
        return f"has {entry.file_size:,} bytes, expected {limit:,} at most"
    return None
