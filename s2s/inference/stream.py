"""The filter behind `s2s translate`: lines in, lines out, in bounded memory, stopped anywhere."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TextIO

from s2s.errors import Interrupted, S2sError
from s2s.inference.nbest import Listing, Output, listed
from s2s.inference.progress import StreamProgress
from s2s.inference.signals import Stop
from s2s.text.lines import BYTE_ORDER_MARK

WINDOW_BYTES = 1 << 24
"""A window ends early when it holds so much: lines may be long."""

NAMED = 10
"""So many faulty lines are named; binary garbage would fill the screen."""

FIRST_WINDOW = 1024
"""Lines of the first window. Later ones hold as many as are done, up to the largest window: so the
first answers come soon, and whenever it is stopped, no more than half of the work is lost."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where a stream begins, who watches it, and how it can be gone on with."""

    start: int = 0
    """Lines of the input that were read and answered before."""
    progress: StreamProgress | None = None
    """Shown this; one of its own if None."""
    stop: Stop = field(default_factory=Stop)
    """Asked whether a signal has come; by itself it catches none."""
    advice: Callable[[int], str] | None = None
    """What to do after N lines to go on; nothing is said if None."""

    def ended(self, done: int) -> str:
        """How far it came, and how to go on."""
        advice = "" if self.advice is None else f"; {self.advice(done)}"
        return f"{done:,} lines are done{advice}"


class Translate(Protocol):
    """Translations of lines, one each, in their order."""

    def __call__(self, lines: list[str], first: int, /) -> list[str]:
        """As many lines as given; `first` is the place of their first in the input, from 0."""
        ...


class Respond(Protocol):
    """What to write for lines, one text each; it may run over several lines."""

    def __call__(self, lines: list[str], first: int, /) -> list[str]:
        """As many texts as lines, without their last line end; `first` as in `Translate`."""
        ...


def translate_stream(
    source: BinaryIO,
    target: BinaryIO,
    translate_lines: Translate,
    window: int,
    interactive: bool,
    *,
    messages: TextIO | None = None,
    course: Course | None = None,
) -> int:
    """Translate every line of `source` to a line of `target`; how many lines that were.

    White space alone is translated to nothing. See `respond_stream` for the rest.
    """

    def respond(lines: list[str], first: int) -> list[str]:
        blanked = [line if line.strip() else "" for line in lines]
        found = translate_lines(blanked, first)
        return [text.replace("\n", " ") for text in found]

    return respond_stream(
        source, target, respond, window, interactive, messages=messages, course=course
    )


def respond_stream(
    source: BinaryIO,
    target: BinaryIO,
    respond: Respond,
    window: int,
    interactive: bool,
    *,
    messages: TextIO | None = None,
    course: Course | None = None,
) -> int:
    """Write to `target` what every line of `source` is answered with; how many lines that were.

    A line ends at LF alone; a last one without it counts. At most `window` lines are held at a time
    (one where `interactive`), and the target is flushed after each window. Bytes that are not UTF-8
    are replaced and reported on `messages` (stderr if None), which also shows progress where it is
    a terminal and the source is none. A reader that goes away ends it quietly. Lines that were
    done before the stream, as the course says, count.

    Raises Interrupted after a signal and S2sError where the target takes no more; what is written
    then are whole lines, and the message says how many and how to go on.
    """
    course = Course() if course is None else course
    progress = course.progress or StreamProgress(source, messages, course.start)
    reader = _Reader(source, sys.stderr if messages is None else messages, course.start)
    done = course.start
    try:
        while lines := reader.read(1 if interactive else _size(done - course.start, window)):
            progress.window(len(lines), reader.size)
            texts = respond(lines, done)
            assert len(texts) == len(lines), f"{len(texts)} answers to {len(lines)} lines"
            with course.stop.writing():
                _write(target, texts, course, done)
                done += len(lines)
    except BrokenPipeError:
        _close_quietly(target)
    except KeyboardInterrupt:
        number = course.stop.number or signal.SIGINT
        raise Interrupted(f"interrupted: {course.ended(done)}", number) from None
    finally:
        progress.end(done)
    return done


def _size(done: int, window: int) -> int:
    """Lines of the next window."""
    return min(window, max(FIRST_WINDOW, done))


def _write(target: BinaryIO, texts: list[str], course: Course, done: int) -> None:
    try:
        target.write("".join(f"{text}\n" for text in texts).encode())
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise S2sError(
            f"cannot write the output: {error.strerror or error}; {course.ended(done)}"
        ) from None


def _close_quietly(target: BinaryIO) -> None:
    """Send what is still buffered nowhere, or Python complains about the pipe when it exits."""
    try:
        descriptor = target.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class _Reader:
    """Lines of a binary stream as text."""

    def __init__(self, source: BinaryIO, messages: TextIO, number: int = 0) -> None:
        """`number` lines were read before."""
        self.source = source
        self.messages = messages
        self.number = number
        self.size = 0
        self.faulty = 0

    def read(self, most: int) -> list[str]:
        """Up to `most` lines, of `size` bytes in the input; none at the end."""
        lines: list[str] = []
        self.size = 0
        while len(lines) < most and self.size < WINDOW_BYTES:
            raw = self.source.readline()
            if not raw:
                break
            self.size += len(raw)
            lines.append(self._decode(raw.removesuffix(b"\n")))
        return lines

    def _decode(self, raw: bytes) -> str:
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.faulty += 1
            if self.faulty <= NAMED:
                last = "; further such lines are not named" if self.faulty == NAMED else ""
                self.messages.write(
                    f"line {self.number}: not valid UTF-8 (byte {error.start + 1} is "
                    f"0x{raw[error.start]:02x}), replaced by U+FFFD{last}\n"
                )
            return raw.decode("utf-8", errors="replace")


class Outputs(Protocol):
    """What `list_stream` needs of a translator."""

    def outputs(self, lines: list[str], first: int = 0, keep: int = 1) -> list[list[Output]]:
        """As `LineTranslator.outputs`."""
        ...


def list_stream(
    source: BinaryIO,
    target: BinaryIO,
    translator: Outputs,
    listing: Listing,
    window: int,
    *,
    interactive: bool,
    course: Course | None = None,
) -> int:
    """Write a row to `target` for every output of every line of `source`; how many lines it had.

    See `respond_stream` for the rest.
    """

    def respond(lines: list[str], first: int) -> list[str]:
        found = translator.outputs(lines, first, listing.nbest)
        return [
            listed(outputs, first + place, listing.form)
            for place, outputs in enumerate(found, start=1)
        ]

    return respond_stream(source, target, respond, window, interactive, course=course)
