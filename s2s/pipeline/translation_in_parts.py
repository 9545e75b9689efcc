"""Translates a file in several processes of one or several hosts, which torchrun starts.

    torchrun --nproc-per-node 4 --no-python s2s translate --input BIG --output OUT --resume

The processes agree on a plan, count the lines of their shares of the input, and then translate
ranges of it without talking to each other: through the folder of parts that they share, each takes
its own ranges first, then those that nobody has begun, and at last those that were begun but are
not finished (backup tasks: Dean and Ghemawat 2004, MapReduce, section 3.6). One joins the parts.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from s2s.errors import DataError, Interrupted, S2sError, UsageError
from s2s.files import GZIP_MAGIC
from s2s.inference.byte_ranges import ByteRanges, RangeContents, open_file
from s2s.inference.parts import (
    PLAN,
    Parts,
    Plan,
    check_parts_folder,
    delete_parts,
    parts_folder,
)
from s2s.inference.resume import note_path, refuse_other
from s2s.inference.signals import SignalHandler, handle_signals
from s2s.messages import note
from s2s.pipeline.range_translation import POLL_SECONDS, RangeTranslation
from s2s.text.remote import url_of
from s2s.training.distributed.launch import is_launched, launched

if TYPE_CHECKING:
    from s2s.pipeline.line_translation import LineTranslation
    from s2s.recipe.search import Search
    from s2s.training.distributed.process_group import ProcessGroup

APPEARS = 90.0
"""Seconds in which another host has to see what rank 0 wrote; NFS caches names for a minute."""

ROUND_BYTES = 1 << 32
"""Bytes whose lines a process counts before it waits for the others."""


class Make(Protocol):
    """Makes the translation of this process."""

    def __call__(self, *, device: str) -> LineTranslation:
        """For a device; raises UsageError."""
        ...


class Decision(NamedTuple):
    """What rank 0 decides before the processes divide the work."""

    attempt: str
    search: Search
    speeds: Mapping[Any, float]
    fingerprint: Mapping[str, Any]
    ranges: ByteRanges


class Counted(NamedTuple):
    """What a process has found out before it translates."""

    host: str
    fingerprint: Mapping[str, Any]
    size: int
    """Bytes of the input."""


def is_in_parts(target: Path | None, resume: bool) -> bool:
    """Whether several processes share the work, or shared what is resumed."""
    return is_launched() or (resume and target is not None and Plan.read(target) is not None)


@dataclass(frozen=True)
class InParts:
    """A translation in parts."""

    source: Path | None
    target: Path | None
    resume: bool
    make: Make
    check: Callable[[], None]
    """Raises UsageError or DataError for runs, options and features that do not suit."""
    alone: Callable[[], int]
    """Translates in this process."""

    def translate(self, device: str) -> int:
        """Translate the file together with the other processes; returns the number of its lines.

        Raises what one process raises. Where rank 0 reports an error or is gone, other ranks end
        with SystemExit.
        """
        from s2s.training.distributed.process_group import WorkerLost

        with handle_signals() as signals, launched(device) as (group, own_device):
            try:
                count = self._translate(group, own_device, signals)
            except (KeyboardInterrupt, Interrupted, WorkerLost) as error:
                is_lost = isinstance(error, WorkerLost)
                number = signals.signal_number or 2
                if group.rank:  # rank 0 reports it
                    raise SystemExit(1 if is_lost else 128 + number) from None
                advice = f"the same command with --resume completes {self.target}"
                if is_lost:
                    raise S2sError(f"another process has ended before it began; {advice}") from None
                raise Interrupted(f"interrupted: {self._done()}{advice}", number) from None
        if count is not None:
            return count
        return 0 if group.rank else self.alone()

    def _done(self) -> str:
        """How many ranges are done, for a message."""
        plan = None if self.target is None else Plan.read(self.target)
        if plan is None or self.target is None:
            return ""
        missing = len(Parts(self.target, plan).missing())
        return f"{plan.ranges.count - missing:,} of {plan.ranges.count:,} ranges are done; "

    def _translate(self, group: ProcessGroup, device: str, signals: SignalHandler) -> int | None:
        """The number of lines; None where rank 0 does all alone."""
        decision = previous = translation = None
        source, target = self._files()
        if group.rank == 0:
            _check_files(source, target, self.resume)
            previous = Plan.read(target) if self.resume else None
            if not self._is_whole(target, previous):
                translation, decision = self._decide(source, target, previous, group, device)
        decision = group.all_gather(decision)[0]
        if decision is None:
            return None
        translation = translation or self._as_decided(decision, device)
        plan = self._plan(group, translation, decision, source)
        parts = Parts(target, plan, decision.attempt)
        if group.rank == 0:
            _open_parts(target, plan, previous, parts, translation)
        group.all_gather(None)  # the folder is there
        _wait_for(parts.claims)
        group.all_gather(None)  # all see it: the first that is done with all ranges deletes it
        return RangeTranslation(group, parts, plan, source, translation, signals).run()

    def _files(self) -> tuple[Path, Path]:
        if self.source is None or self.target is None:
            raise UsageError(
                "several processes, which torchrun has started, translate ranges of one file into "
                "another; name them with --input FILE and --output FILE, not stdin or stdout"
            )
        for url in map(url_of, (self.source, self.target)):
            if url is not None:
                raise UsageError(
                    f"{url}: several processes read and write files of a folder that all of them "
                    "see; download it first, or translate in one process"
                )
        return self.source, self.target

    def _is_whole(self, target: Path, previous: Plan | None) -> bool:
        """Whether the target is one file, which one process resumes if it is not complete."""
        if not self.resume or previous is not None:
            return False
        return target.exists() and target.stat().st_size > 0

    def _decide(
        self, source: Path, target: Path, previous: Plan | None, group: ProcessGroup, device: str
    ) -> tuple[LineTranslation, Decision]:
        """The translation of rank 0 and its decisions. What is resumed keeps its own."""
        if previous is not None:
            _adopt(previous.speeds)
        translation = self.make(device=device)
        if group.size > 1 and translation.workers > 1:
            raise UsageError(
                f"--workers {translation.workers}: torchrun has started {group.size} processes "
                "already; leave it out"
            )
        self.check()
        fingerprint: Mapping[str, Any] = translation.fingerprint()
        ranges = ByteRanges.of(source.stat().st_size, group.size)
        if previous is not None:
            refuse_other(target, previous.fingerprint, fingerprint)
            fingerprint = previous.fingerprint
            if previous.ranges.size != ranges.size:
                raise _other_input(target)
            ranges = previous.ranges
        factory = translation.factory
        attempt = secrets.token_hex(4)
        return translation, Decision(attempt, factory.search, factory.speeds, fingerprint, ranges)

    def _as_decided(self, decision: Decision, device: str) -> LineTranslation:
        """The translation of another rank."""
        _adopt(decision.speeds)
        made = self.make(device=device)
        factory = replace(made.factory, search=decision.search, speeds=decision.speeds)
        return replace(made, factory=factory)

    def _plan(
        self, group: ProcessGroup, translation: LineTranslation, decision: Decision, source: Path
    ) -> Plan:
        """Count the lines of the input together, and make sure that all have the same input and
        models."""
        from s2s.training.distributed.process_group import ReportedByRankZero

        with open_file(source) as file:
            own = Counted(
                socket.gethostname(), translation.fingerprint(), os.fstat(file.fileno()).st_size
            )
            for rank, other in enumerate(group.all_gather(own)):
                reason = _difference(other, decision)
                if reason and group.rank:
                    raise SystemExit(ReportedByRankZero.exit_status)
                if reason:
                    raise UsageError(
                        f"process {rank} on {other.host} has {reason} than process 0; all need the "
                        "same files, options and models"
                    )
            contents = list(_count_together(group, decision.ranges, file))
        return Plan(
            fingerprint=decision.fingerprint,
            ranges=decision.ranges,
            contents=contents,
            speeds=decision.speeds,
        )


def _check_files(source: Path, target: Path, resume: bool) -> None:
    """Raises UsageError or DataError for files that cannot be read or written in parts."""
    with open_file(source) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(
                f"{source}: several processes read ranges of a file, found a pipe or device"
            )
        if file.read(2) == GZIP_MAGIC:
            raise UsageError(
                f"{source}: several processes read ranges of bytes, which a gzip file has not; "
                f"'gunzip -k {source}' unpacks it"
            )
    if target.exists() and not target.is_file():
        raise UsageError(f"{target}: several processes write a file, found something else")
    if not target.parent.is_dir():
        raise DataError(f"{target}: cannot write it: No such file or directory")
    check_parts_folder(target)
    if resume and note_path(target).exists() and not (parts_folder(target) / PLAN).exists():
        raise UsageError(
            f"{target}: begun by one process; --resume without torchrun completes it, or leave "
            "--resume out to start over"
        )


def _open_parts(
    target: Path, plan: Plan, previous: Plan | None, parts: Parts, translation: LineTranslation
) -> None:
    """Make the folder of the parts, or find it as it was; raises UsageError for another input."""
    if translation.line_constraints is not None:
        translation.line_constraints.check_file(plan.first_lines()[-1])
    if previous is None:
        delete_parts(target)
        plan.write(target)
    elif previous.contents != plan.contents:
        raise _other_input(target)
    else:
        done = parts.count - len(parts.missing())
        note(f"{target}: {done:,} of {parts.count:,} ranges exist")
    parts.claims.mkdir(parents=True)


def _other_input(target: Path) -> UsageError:
    return UsageError(
        f"{target}: begun with another input; resume with the input it was begun with, or leave "
        "--resume out to start over"
    )


def _difference(other: Counted, decision: Decision) -> str | None:
    """What a process has that rank 0 has not; None if they agree."""
    if other.size != decision.ranges.size:
        return f"another input ({other.size:,} bytes, not {decision.ranges.size:,})"
    try:
        refuse_other(Path(), decision.fingerprint, other.fingerprint)
    except UsageError:
        return "other models or options"
    return None


def _count_together(
    group: ProcessGroup, ranges: ByteRanges, file: BinaryIO
) -> Iterator[RangeContents]:
    """The contents of all ranges, of which each process counts its share, in rounds: processes
    wait for each other only minutes."""
    most = max(1, ROUND_BYTES // ranges.step)
    for start in range(0, ranges.count, most * group.size):
        begin = min(start + group.rank * most, ranges.count)
        share = range(begin, min(begin + most, ranges.count))
        for found in group.all_gather([ranges.contents(file, index) for index in share]):
            yield from found


def _wait_for(folder: Path) -> None:
    """Until this host sees what rank 0 has made; raises UsageError where it does not appear."""
    end = time.monotonic() + APPEARS
    while not folder.is_dir():
        if time.monotonic() > end:
            raise UsageError(
                f"{folder}: expected the folder that process 0 has made; do all hosts see the same "
                "folder? --output names a file in one that they share"
            )
        time.sleep(POLL_SECONDS)


def _adopt(speeds: Mapping[Any, float]) -> None:
    """Choose the kernels that rank 0 chooses, or chose when it began."""
    if speeds:
        from s2s.nn.kernels import adopt

        adopt(speeds)
