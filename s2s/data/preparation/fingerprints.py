"""Fingerprints of prepared folders: which data, recipe sections and format they were made from."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from s2s.data.sources.contents import Hashes, by_content
from s2s.files import atomic_write

FINGERPRINT_FILE = "fingerprint"

BY_CONTENT = "content-"
"""The beginning of a fingerprint by content. Others know files by path, size and time."""


class Fingerprint(NamedTuple):
    """All that a prepared folder depends on, as hashes."""

    now: str
    """With files by their content."""
    before: str
    """With files by path, size and time: the fingerprint that earlier versions wrote."""

    def matches(self, folder: Path) -> bool:
        """Whether a folder was prepared from the same; that of an earlier version counts where it
        has no other."""
        found = read_fingerprint(folder)
        return self.now in found or (not has_content(found) and self.before in found)

    def upgrade(self, folder: Path) -> None:
        """Let a folder that matches have the fingerprint by content. Its earlier one stays there:
        a shortlist may name it. Raises OSError if the disk refuses."""
        found = read_fingerprint(folder)
        if not has_content(found):
            atomic_write(folder / FINGERPRINT_FILE, "\n".join((self.now, *found)))


def fingerprint(content: dict[str, Any], hashes: Hashes) -> Fingerprint:
    """The fingerprint of content with `FileStamp` for files. Raises DataError for a file that
    cannot be read."""
    return Fingerprint(BY_CONTENT + digest(by_content(content, hashes)), digest(content))


def digest(content: dict[str, Any]) -> str:
    """A hash of JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_fingerprint(folder: Path) -> tuple[str, ...]:
    """The fingerprint of a prepared folder and earlier ones of the same; empty if there is none."""
    try:
        return tuple((folder / FINGERPRINT_FILE).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return ()


def has_content(found: tuple[str, ...]) -> bool:
    """Whether one of a folder's fingerprints knows files by their content."""
    return any(line.startswith(BY_CONTENT) for line in found)
