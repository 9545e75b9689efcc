"""The unfinished output of several processes: a file for each range of the input, and claims.

Beside OUTPUT is the folder OUTPUT.parts:

    plan.json                   what the output depends on, the cuts of the input, hashes of ranges
    DIGEST/00000003.part        the output of a range, then a line of JSON with counts
    DIGEST/claims-ATTEMPT/3.0   range 3 is being translated

A part is a function of the plan, whose digest names its folder, and appears complete. So it does
not matter who wrote it, when, or whether two processes did: claims only save work, and nothing
depends on locks or clocks. A claim is a file that one process alone can create, which NFS does
atomically too (open(2), O_EXCL). A command that resumes claims anew.
"""

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from s2s.errors import DataError, S2sError
from s2s.files import (
    atomic_gzip,
    atomic_write,
    parse_json,
    read_json,
    remove,
    replace_file,
    sync_file,
    sync_folder,
    temporary_beside,
)
from s2s.inference.byte_ranges import BLOCK, ByteRanges, RangeContents
from s2s.inference.resume import line_start, remove_note

FORMAT = 1
"""Version of the folder."""

PLAN = "plan.json"

SUFFIX = ".part"

_OWN_NAMES = re.compile(r"plan\.json|[0-9a-f]{16}|\.tmp-.*|\.nfs.*")
"""Names in the folder; NFS keeps deleted files that are open under names of its own."""


def parts_folder(target: Path) -> Path:
    """The folder of an output's parts."""
    return target.with_name(f"{target.name}.parts")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all processes translate, and how the input is cut."""

    fingerprint: Mapping[str, Any]
    """Everything that decides the output of a line."""
    ranges: ByteRanges
    contents: Sequence[RangeContents]
    """Of each range."""
    speeds: Mapping[Any, float]
    """The speeds by which kernels are chosen, on whatever machine it resumes."""

    @property
    def digest(self) -> str:
        """A hash of all but the speeds, whose choices the fingerprint has."""
        values = [self.fingerprint, [self.ranges.size, self.ranges.step], self.contents]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def first_lines(self) -> list[int]:
        """The place of the first line of each range in the input, from 0; then their number."""
        places = [0]
        for one in self.contents:
            places.append(places[-1] + one.lines)
        return places

    def write(self, target: Path) -> None:
        """Write it beside the target."""
        content = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "size": self.ranges.size,
            "step": self.ranges.step,
            "contents": self.contents,
            "speeds": self.speeds,
        }
        atomic_write(parts_folder(target) / PLAN, json.dumps(content) + "\n")

    @classmethod
    def read(cls, target: Path) -> "Plan | None":
        """The plan of an unfinished output, if there is one; raises DataError if it is damaged."""
        path = parts_folder(target) / PLAN
        try:
            found = read_json(path)
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']!r}, expected {FORMAT}")
            plan = cls(
                fingerprint=dict(found["fingerprint"]),
                ranges=ByteRanges(int(found["size"]), max(1, int(found["step"]))),
                contents=[RangeContents(int(n), str(digest)) for n, digest in found["contents"]],
                speeds={str(name): float(speed) for name, speed in found["speeds"].items()},
            )
            if plan.ranges.count != len(plan.contents):
                raise ValueError("another number of ranges")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path}: cannot read it ({error}); leave --resume out to start over"
            ) from None
        return plan


class PartCounts(NamedTuple):
    """The last line of a part: what it has, and counts for the reports about the whole input."""

    range_: int
    lines: int
    size: int
    """Bytes of the output, which precede this line."""
    counts: Mapping[str, Any]


class Parts:
    """The parts of an output, as one process writes and claims them."""

    def __init__(self, target: Path, plan: Plan, attempt: str = "") -> None:
        """`attempt` names the claims that the processes of one command share."""
        self.target = target
        self.count = plan.ranges.count
        self.folder = parts_folder(target) / plan.digest
        self.claims = self.folder / f"claims-{attempt}"

    @property
    def is_gone(self) -> bool:
        """Whether another process has joined the parts, or a new command has deleted them."""
        return not os.path.isdir(self.folder)  # noqa: PTH112 - also where NFS has a stale handle

    def missing(self) -> list[int]:
        """The ranges without a part; none where the folder is gone."""
        try:
            names = {entry.name for entry in os.scandir(self.folder)}
        except OSError:
            if self.is_gone:
                return []
            raise
        return [index for index in range(self.count) if _name(index) not in names]

    def has(self, index: int) -> bool:
        """Whether the part of a range exists."""
        return (self.folder / _name(index)).exists()

    def claim(self, index: int | str, round_: int = 0) -> bool:
        """Whether this process is to translate a range: the first that asks is. A later round asks
        again for what the one before has not finished."""
        try:
            (self.claims / f"{index}.{round_}").open("xb").close()
        except FileExistsError:
            return False
        except OSError as error:
            if self.is_gone:  # nothing is left to do
                return False
            raise S2sError(f"{self.claims}: cannot write there: {error.strerror}") from None
        return True

    @contextmanager
    def writing(self, index: int) -> Iterator["PartWriter"]:
        """A part to write, which appears if the block raises nothing.

        Where the folder is gone, another process had the same part, so it is dropped.
        """
        path = self.folder / _name(index)
        if self.is_gone:
            yield PartWriter(io.BytesIO(), index, path)
            return
        temporary = temporary_beside(path)
        try:
            with temporary.open("xb") as file:
                writer = PartWriter(file, index, path)
                yield writer
                writer.finish()
            sync_file(temporary)
            replace_file(temporary, path)
            sync_folder(self.folder)
        except OSError as error:
            if not self.is_gone:
                raise S2sError(f"{path}: cannot write it: {error.strerror or error}") from None
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def join(self) -> list[PartCounts]:
        """Write the target from all parts, and delete them; returns the counts of all.

        The target appears complete. Raises DataError for a damaged part.
        """
        with _replacing(self.target) as joined:
            found = [self._append(index, joined) for index in range(self.count)]
        remove_note(self.target)
        delete_parts(self.target)
        return found

    def _append(self, index: int, joined: BinaryIO) -> PartCounts:
        path = self.folder / _name(index)
        with path.open("rb") as file:
            counts = _read_counts(file, index, path)
            file.seek(0)
            left = counts.size
            while left and (block := file.read(min(BLOCK, left))):
                joined.write(block)
                left -= len(block)
        return counts


class PartWriter:
    """The file of a part while it is written."""

    def __init__(self, file: BinaryIO, index: int, path: Path) -> None:
        self.file, self.index, self.path = file, index, path
        self.lines = 0
        self.counts: Mapping[str, Any] = {}

    def write(self, data: bytes) -> int:
        """Write output; raises S2sError."""
        try:
            return self.file.write(data)
        except OSError as error:
            raise S2sError(
                f"{self.path}: cannot write it: {error.strerror}; the same command with --resume "
                "continues there"
            ) from None

    def flush(self) -> None:
        """The part is flushed when it is complete."""

    def finish(self) -> None:
        """Write the last line."""
        found = PartCounts(self.index, self.lines, self.file.tell(), self.counts)
        self.write(json.dumps(found).encode() + b"\n")


def _read_counts(file: BinaryIO, index: int, path: Path) -> PartCounts:
    end = file.seek(0, os.SEEK_END)
    begin = line_start(file, end)
    file.seek(begin)
    try:
        counts = PartCounts(*parse_json(file.read(end - begin)))
        if (counts.range_, counts.size) != (index, begin) or not isinstance(counts.counts, dict):
            raise ValueError
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: a damaged part; delete it, and --resume writes it again"
        ) from None
    return counts


def _name(index: int) -> str:
    return f"{index:08d}{SUFFIX}"


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that replaces the target if the block raises nothing; gzipped if named so."""
    if target.suffix == ".gz":
        with atomic_gzip(target) as file:
            yield file
        return
    temporary = temporary_beside(target)
    try:
        with temporary.open("xb") as plain:
            yield cast(BinaryIO, plain)
        sync_file(temporary)
        replace_file(temporary, target)
    except OSError as error:
        raise S2sError(f"{target}: cannot write it: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def check_parts_folder(target: Path) -> None:
    """Raises DataError for a folder of that name which has something else."""
    folder = parts_folder(target)
    if not folder.exists():
        return
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    strange = [name for name in names if not _OWN_NAMES.fullmatch(name)]
    if strange:
        raise DataError(
            f"{folder}: expected a folder of parts of {target.name}, found {strange[0]} in it; "
            "move it away, or choose another --output"
        )


def delete_parts(target: Path) -> None:
    """Delete the parts of a target, if it has some: first it has no plan, then no folder."""
    folder = parts_folder(target)
    if not (folder / PLAN).exists():
        return
    check_parts_folder(target)
    remove(folder / PLAN)
    old = temporary_beside(folder)  # so that no process adds a file to it meanwhile
    folder.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def work_order(rank: int, size: int, count: int) -> Iterator[int]:
    """The order in which a process of rank `rank` of `size` looks at ranges: its own share, then
    the shares of others backwards."""
    bounds = [count * place // size for place in range(size + 1)]
    yield from range(bounds[rank], bounds[rank + 1])
    for other in range(rank + 1, rank + size):
        place = other % size
        yield from reversed(range(bounds[place], bounds[place + 1]))
