"""What files hold, as hashes: a file is known by its content, not by path, time or size.

A hash is computed once. `hashes.json` in the folder of a run keeps it with the size and the times
of the file, and it counts as long as these stay.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s2s.errors import DataError
from s2s.files import IS_WINDOWS, atomic_write, read_json
from s2s.messages import note

HASHES_FILE = "hashes.json"
FORMAT = 1

SETTLED_NS = 2 * 10**9
"""Nanoseconds after which another change of a file has another time: file systems count in steps of
up to two seconds (FAT). The hash of a file that changed later than that is not kept."""

LONG_BYTES = 2 * 2**30
"""Size of a file from which on reading it takes so long that a line on stderr says so."""

_known: dict[str, tuple[list[int], str]] = {}
"""Hashes of this process, with sizes and times, by absolute path."""


class FileStamp(dict[str, Any]):
    """Path, size and time of a file: the JSON by which earlier versions knew it.

    `by_content` replaces it by what the file holds.
    """

    def __init__(
        self, path: Path, status: os.stat_result, name: str = "", beside: Path | None = None
    ) -> None:
        """`name` is that part of the name which decides how the file is read, `beside` another
        file that belongs to it, if it exists."""
        super().__init__(path=str(path), size=status.st_size, mtime_ns=status.st_mtime_ns)
        self.path = path
        self.name = name
        self.beside = beside


@dataclass
class Hashes:
    """Hashes of files by path, kept in a folder; for this process alone if it is None."""

    folder: Path | None = None
    _kept: dict[str, tuple[list[int], str]] | None = field(default=None, repr=False)

    def of(self, path: Path) -> str:
        """The SHA-256 of a file's bytes, in hexadecimal. Raises DataError if it cannot be read."""
        place = os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps `..` and `.`
        try:
            state = _state(path.stat())
            for known in (_known, self._read()):
                if place in known and known[place][0] == state:
                    _known[place] = known[place]
                    return known[place][1]
            if state[0] >= LONG_BYTES:
                note(f"{path}: read once to know it by its content ({state[0] / 1e9:.1f} GB)")
            began = time.time_ns()
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if _state(path.stat()) == state and _changed(state) < began - SETTLED_NS:
                _known[place] = (state, found)
                self._keep(place)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        return found

    def _read(self) -> dict[str, tuple[list[int], str]]:
        """The hashes in the folder; none if there is no sound file of them."""
        if self._kept is None:
            self._kept = {} if self.folder is None else _read(self.folder / HASHES_FILE)
        return self._kept

    def _keep(self, place: str) -> None:
        """Write the hash of a file; a folder that is missing or read-only keeps none."""
        if self.folder is None or not self.folder.is_dir():
            return
        path = self.folder / HASHES_FILE
        self._kept = {**_read(path), place: _known[place]}
        content = {"format": FORMAT, "files": self._kept}
        with suppress(OSError):
            atomic_write(path, json.dumps(content, indent=1) + "\n")


def by_content(tree: Any, hashes: Hashes) -> Any:
    """A fingerprint in which every `FileStamp` is replaced by the hash of its file.

    Raises DataError for a file that cannot be read.
    """
    match tree:
        case FileStamp():
            beside = tree.beside
            return {
                "sha256": hashes.of(tree.path),
                **({"name": tree.name} if tree.name else {}),
                **({"beside": hashes.of(beside)} if beside and beside.is_file() else {}),
            }
        case Mapping():
            return {key: by_content(value, hashes) for key, value in tree.items()}
        case list() | tuple():
            return [by_content(value, hashes) for value in tree]
    return tree


def _state(status: os.stat_result) -> list[int]:
    """What changes with the content: size, time, and the time that nobody can set (on Windows the
    time of creation)."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _changed(state: list[int]) -> int:
    """The time of the last change, in nanoseconds."""
    return state[1] if IS_WINDOWS else state[2]


def _read(path: Path) -> dict[str, tuple[list[int], str]]:
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            return {}
        return {
            place: (list(state), str(found)) for place, (state, found) in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
