"""Fuzzing guided by coverage: an input that reaches a line of s2s for the first time is changed
further. Readers run in this process' children, without commands around them: hundreds of inputs a
second."""

import contextlib
import faulthandler
import json
import mmap
import os
import random
import signal
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.torture.commands import forked
from tests.torture.counts import Counts
from tests.torture.new_lines import Place, watch
from tests.torture.target import Target

BATCH = 100
"""Inputs that one process gets."""

SECONDS = 5.0
"""Seconds of processor time after which an input hangs; it does not depend on how busy the machine
is."""

COLUMNS = ("tried", "refused", "kept", "lines of s2s")
"""Inputs; those that the reader refused; those that reached a new line; all lines reached."""

LOG = ".log"
"""The file in which a process writes what it finds."""


class Hang(BaseException):
    """An input took too long."""


@dataclass
class Search:
    """What is known of a target."""

    target: Target
    counts: Counts
    corpus: list[bytes]
    """The seeds, and the inputs that reached something new."""
    num_seeds: int
    lines: set[Place] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    """Where errors came from that were reported."""
    next: int = 0
    """The number of the next input; the first ones are the seeds, undamaged."""

    def draw(self, number: int, seed: int) -> bytes:
        """Input `number`, a function of the seed and of what the inputs before have reached."""
        if number < self.num_seeds:
            return self.corpus[number]
        draw = random.Random(f"{self.target.name} {seed} {number}")
        return self.target.change(draw.choice(self.corpus), self.corpus, draw)


def begin(target: Target, folder: Path) -> Search:
    """A search that knows the seeds alone."""
    seeds = target.seeds(folder)
    return Search(target, Counts(target.name), seeds, len(seeds))


def search(found: Search, folder: Path, seed: int, inputs: Path) -> None:
    """Try the next inputs; those that fail are kept in the folder `inputs`."""
    end = found.next + BATCH
    while found.next < end:
        shared = mmap.mmap(-1, 16)
        first = found.next
        log = folder / LOG
        log.unlink(missing_ok=True)
        path = folder / found.target.path
        before = path.read_bytes() if path.is_file() else None
        try:
            outcome = forked(lambda shared=shared: _be(found, seed, end, shared), folder)
            number, refused = struct.unpack("QQ", shared[:16])
            broken = path.read_bytes() if path.is_file() else b""
        finally:
            _restore(path, before)
        found.counts.numbers["refused"] += refused
        _read_log(found, log, inputs)
        if outcome.status == 0:
            found.next = end
        elif number < first:  # it did not come as far as the first input
            raise SystemExit(f"{found.target.name}: {outcome}\n{outcome.err}")
        else:
            found.next = number + 1
            _report(found, number, f"the process ends: {outcome}", f"{outcome.status}")
            _keep(found, number, broken, inputs)
        found.counts.numbers["tried"] += found.next - first
    found.counts.numbers["lines of s2s"] = len(found.lines)
    found.counts.numbers["kept"] = len(found.corpus) - found.num_seeds


def _restore(path: Path, before: bytes | None) -> None:
    if before is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(before)


def _read_log(found: Search, log: Path, inputs: Path) -> None:
    """Take over what a process has found."""
    if not log.exists():
        return
    for line in log.read_text().splitlines():
        event = json.loads(line)
        content = bytes.fromhex(event["input"])
        if "error" in event:
            if _report(found, event["number"], event["error"], event["place"]):
                _keep(found, event["number"], content, inputs)
        else:
            found.lines.update((file, number) for file, number in event["lines"])
            if event["number"] >= found.num_seeds:
                found.corpus.append(content)


def _report(found: Search, number: int, error: str, place: str) -> bool:
    """Count a failure; whether it is the first from its place."""
    found.counts.failures.append(f"{found.target.name}, input {number}: {error}")
    is_new = place not in found.places
    found.places.add(place)
    return is_new


def _keep(found: Search, number: int, content: bytes, inputs: Path) -> None:
    inputs.mkdir(parents=True, exist_ok=True)
    (inputs / f"{found.target.name.replace(' ', '-')}-{number}").write_bytes(content)


# ------------------------------------------------------------------------- in the child process


def _be(found: Search, seed: int, end: int, shared: mmap.mmap) -> int:
    """Try inputs up to `end`, and write what they reach."""
    path = Path(found.target.path)
    refused = 0
    os.fsync = lambda file: None  # the disk is not what is tried
    faulthandler.disable()
    with Path(LOG).open("w") as log, contextlib.ExitStack() as stack:
        read = stack.enter_context(found.target.reader())
        lines = watch(found.lines)
        _limit()
        lines.start()
        for number in range(found.next, end):
            content = found.draw(number, seed)
            path.write_bytes(content)
            shared[:16] = struct.pack("QQ", number, refused)
            error = _tried(read, found.target.refusals)
            is_refused = isinstance(error, found.target.refusals)
            refused += is_refused
            event: dict[str, Any] = {"number": number, "input": content.hex()}
            if error is not None and not (is_refused and number >= found.num_seeds):
                _write(log, {**event, **_described(error)})
            if new := lines.take():
                _write(log, {**event, "lines": new})
                if number >= found.num_seeds:
                    found.corpus.append(content)
        shared[:16] = struct.pack("QQ", end, refused)
    return 0


def _write(log: Any, event: dict[str, Any]) -> None:
    log.write(json.dumps(event) + "\n")
    log.flush()


def _tried(read: Callable[[], None], refusals: tuple[type[BaseException], ...]) -> Any:
    """What a reader raises; None if it reads the file."""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    try:
        read()
    except refusals as error:
        return error
    except BaseException as error:  # the fault that is looked for
        return error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
    return None


def _limit() -> None:
    """An input that takes too long raises `Hang`; in code that is not Python's, it ends the
    process later."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {SECONDS:g} seconds of processor time")

    signal.signal(signal.SIGVTALRM, hang)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def _described(error: BaseException) -> dict[str, str]:
    """An error and the last line of s2s on its way."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "/s2s/" in frame.filename] or frames[-1:]
    place = f"{Path(inside[-1].filename).name}:{inside[-1].lineno}" if inside else "?"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return {"error": f"{what} ({place})", "place": f"{type(error).__name__} {place}"}
