"""What a run's folder may hold: it may come from anybody.

A pipe or a device never ends when it is read, and a sparse file claims terabytes without taking
any. What is written through a link lands elsewhere, and what is deleted behind one is another's.
"""

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from s2s.errors import RunError, RunNotWritable

MEBI, GIBI = 1 << 20, 1 << 30

LARGEST = {
    "tokenizer/*": GIBI,
    "data/fingerprint": MEBI,
    "data/*.json": 64 * MEBI,
    "synthetic/*/*.json": MEBI,
    "metrics.jsonl": GIBI,
    "recipe.yaml": MEBI,
    "*.json": 16 * MEBI,
    "README.md": MEBI,
}
"""The most bytes of the files that are read as a whole, or line by line, by the first pattern that
fits; all others are mapped, or read in blocks."""

READ = (
    *("*", "data/*", "checkpoints/*/*.safetensors", "outputs/*"),
    *("tokenizer/*", "tokenizer/*/*", "tokenizer/*/*/*"),
    *("synthetic/*/*", "distributions/*"),
)
"""Patterns of the files that commands read."""

WRITTEN = (
    *(".lock", ".owner", "metrics.jsonl", "trackers.json", "tensorboard"),
    *("checkpoints", "data", "tokenizer", "features", "outputs", "synthetic"),
    *("distributions", "distributions.making"),
)
"""Files that are written in place, and folders in which commands write and delete."""


def check_files(folder: Path, place: str, *, any_size: Collection[str] = ()) -> None:
    """Raises RunError, naming `place`, unless all files that commands read are plain ones, or links
    to such, of a size that they can have; those `any_size` are not read whole."""
    for pattern in READ:
        for path in folder.glob(pattern):
            with suppress(OSError):  # a broken link: who needs the file says so
                _check(path.relative_to(folder).as_posix(), path.stat(), place, any_size)


def refuse_link(path: Path) -> None:
    """Raises RunNotWritable if a file or folder that is to be written is a link."""
    if path.is_symlink():
        raise RunNotWritable(
            f"{path}: a link, through which nothing is written or deleted; put what it points to "
            "in its place (the folder of the run, or of all runs, may be a link)"
        )


def refuse_links(folder: Path) -> None:
    """The same for all that commands write in a run."""
    for name in WRITTEN:
        refuse_link(folder / name)
    for path in folder.glob("checkpoints/*"):
        refuse_link(path)


def _check(name: str, found: os.stat_result, place: str, any_size: Collection[str]) -> None:
    if stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise RunError(
            f"{place}: {name!r} is a pipe, socket or device, expected a file; remove it, or take "
            "the run from elsewhere"
        )
    largest = next((most for known, most in LARGEST.items() if fnmatch(name, known)), None)
    if largest is not None and name not in any_size and found.st_size > largest:
        raise RunError(
            f"{place}: {name!r} has {found.st_size:,} bytes, expected {largest:,} at most; restore "
            "it, or take the run from elsewhere"
        )
