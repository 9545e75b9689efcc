"""The filter of `s2s translate`: lines in, lines out, in bounded memory, to be stopped anywhere."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TextIO

from s2s.errors import Interrupted, S2sError
from s2s.inference.nbest import NbestOptions, Output, format_outputs
from s2s.inference.progress import StreamProgress
from s2s.inference.signals import SignalHandler
from s2s.messages import write_to
from s2s.text.lines import decode_line, name_of_stream, one_line, read_line, to_utf8, unless_blank

WINDOW_BYTES = 1 << 24
"""The most bytes of a window, which then has fewer lines: lines may be long."""

MAX_NAMED = 10
"""The most faulty lines that are reported; binary data would fill the screen."""

FIRST_WINDOW = 1024
"""Lines of the first window. A later window holds as many lines as are done, up to the largest. So
the first outputs come soon, and an interruption loses at most half of the work."""


@dataclass(frozen=True, kw_only=True)
class StreamContext:
    """Where a stream starts, and how it reports progress, signals and how to resume."""

    start: int = 0
    """Lines of the input that an earlier run read and translated."""
    progress: StreamProgress | None = None
    """Shows the progress; None makes one for the stream."""
    signals: SignalHandler = field(default_factory=SignalHandler)
    """Knows whether a signal has arrived; the default one catches none."""
    advice: Callable[[int], str] | None = None
    """How to resume after N lines; None leaves that out of messages."""

    def ended(self, done: int) -> str:
        """The number of lines that are done, and how to resume."""
        advice = "" if self.advice is None else f"; {self.advice(done)}"
        return f"{done:,} lines are done{advice}"


class Translate(Protocol):
    """Translations of lines, one each, in their order."""

    def __call__(self, lines: list[str], first: int, /) -> list[str]:
        """As many lines as given; `first` is the place of their first in the input, from 0."""
        ...


class Respond(Protocol):
    """The output of each line: a text, possibly of several lines."""

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
    context: StreamContext | None = None,
) -> int:
    """Translate every line of `source` to a line of `target`; returns the number of lines.

    A line of white space alone has an empty translation. See `respond_stream` for the rest.
    """

    def respond(lines: list[str], first: int) -> list[str]:
        found = translate_lines(list(map(unless_blank, lines)), first)
        return list(map(one_line, found))

    return respond_stream(
        source, target, respond, window, interactive, messages=messages, context=context
    )


def respond_stream(
    source: BinaryIO,
    target: BinaryIO,
    respond: Respond,
    window: int,
    interactive: bool,
    *,
    messages: TextIO | None = None,
    context: StreamContext | None = None,
) -> int:
    """Write to `target` the output of every line of `source`; returns the number of lines.

    Lines are read as in `s2s.text.lines`, and end with LF in the target. At most `window` lines are
    held at a time (one if `interactive`), and the target is flushed after each window. Bytes that
    are not UTF-8 are replaced and reported on `messages` (stderr if None), which also shows
    progress if it is a terminal and the source is not. A closed pipe at the target ends the stream
    without an error. The number of lines includes those before `context.start`.

    Raises Interrupted after a signal and S2sError if the target cannot be written. The target then
    ends with a whole line, and the message gives the number of lines and how to resume.
    """
    context = StreamContext() if context is None else context
    progress = context.progress or StreamProgress(source, messages, context.start)
    reader = _Reader(source, sys.stderr if messages is None else messages, context.start)
    done = context.start
    try:
        while lines := reader.read(1 if interactive else _size(done - context.start, window)):
            progress.window(len(lines), reader.size)
            texts = respond(lines, done)
            assert len(texts) == len(lines), f"{len(texts)} outputs of {len(lines)} lines"
            with context.signals.writing():
                _write(target, texts, context, done)
                done += len(lines)
    except BrokenPipeError:
        _close_quietly(target)
    except KeyboardInterrupt:
        number = context.signals.signal_number or signal.SIGINT
        raise Interrupted(f"interrupted: {context.ended(done)}", number) from None
    finally:
        progress.end(done)
    return done


def _size(done: int, window: int) -> int:
    """The most lines of the next window, after `done` lines."""
    return min(window, max(FIRST_WINDOW, done))


def _write(target: BinaryIO, texts: list[str], context: StreamContext, done: int) -> None:
    try:
        target.write("".join(f"{text}\n" for text in texts).encode())
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise S2sError(
            f"cannot write the output: {error.strerror or error}; {context.ended(done)}"
        ) from None


def _close_quietly(target: BinaryIO) -> None:
    """Discard what is still buffered: Python would report the closed pipe at exit."""
    try:
        descriptor = target.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _Reader:
    """Lines of a binary stream as text."""

    def __init__(self, source: BinaryIO, messages: TextIO | None, number: int = 0) -> None:
        """`number` lines precede the first one."""
        self.source = source
        self.messages = messages
        self.number = number
        self.size = 0
        self.faulty = 0
        self.name = name_of_stream(source)

    def read(self, most: int) -> list[str]:
        """Up to `most` lines; none at the end. `size` is then their size in bytes."""
        lines: list[str] = []
        self.size = 0
        while len(lines) < most and self.size < WINDOW_BYTES:
            raw = read_line(self.source, self.name, self.number + 1)
            if not raw:
                break
            self.size += len(raw)
            lines.append(self._decode(raw))
        return lines

    def _decode(self, raw: bytes) -> str:
        self.number += 1
        try:
            return decode_line(raw)
        except UnicodeDecodeError as error:
            self.faulty += 1
            if self.faulty <= MAX_NAMED:
                last = "; further such lines are not reported" if self.faulty == MAX_NAMED else ""
                last = f"; {to_utf8(raw)}" if self.faulty == 1 else last
                write_to(
                    self.messages,
                    f"line {self.number}: not valid UTF-8 (byte {error.start + 1} is "
                    f"0x{raw[error.start]:02x}), replaced by U+FFFD{last}\n",
                )
            return decode_line(raw, errors="replace")


class SupportsOutputs(Protocol):
    """A translator whose outputs `nbest_stream` writes."""

    def outputs(self, lines: list[str], first: int = 0, keep: int = 1) -> list[list[Output]]:
        """As `LineTranslator.outputs`."""
        ...


def nbest_stream(
    source: BinaryIO,
    target: BinaryIO,
    translator: SupportsOutputs,
    listing: NbestOptions,
    window: int,
    *,
    interactive: bool,
    context: StreamContext | None = None,
) -> int:
    """Write a row to `target` for every output of every line of `source`; returns the number of
    lines.

    See `respond_stream` for the rest.
    """

    def respond(lines: list[str], first: int) -> list[str]:
        found = translator.outputs(lines, first, listing.nbest)
        return [
            format_outputs(outputs, first + place, listing.form)
            for place, outputs in enumerate(found, start=1)
        ]

    return respond_stream(source, target, respond, window, interactive, context=context)
