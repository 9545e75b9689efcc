"""Notes to the user: lines on stderr, where the user sees them if stdout is redirected.

They are a courtesy: work goes on where nobody can read them, because stderr is closed, its disk is
full or its terminal is gone. A result that cannot be written is an error.

Names, paths and texts in them may be anybody's, and a terminal obeys control characters. So all
that s2s prints for readers goes through `printable`; results, such as translations, do not.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_IS_QUIET = ContextVar("is_quiet", default=False)

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls (ISO 6429), with which terminals are told to do things; the ends of lines and
paragraphs; and what changes the direction of the text that follows (Unicode Annex 9)."""

STDOUT = "stdout"
"""The file name of an error of stdout."""

STREAMS = (0, 1, 2)
"""The descriptors of stdin, stdout and stderr."""


def printable(text: str) -> str:
    r"""The text as one line that a terminal only shows: `\x1b` for ESC, `\n` for a line break,
    `\u202e` for an override of the direction."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(content: Any) -> str:
    """JSON on one line, in which the same characters are escaped as JSON has it."""
    import json

    text = json.dumps(content, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def note(text: str) -> None:
    """Write a note to stderr, with the name of the program, unless notes are silenced."""
    write_line(f"s2s: {text}")


def write_line(text: str) -> None:
    """Write a line to stderr, unless notes are silenced."""
    if not is_quiet():
        write_to(sys.stderr, f"{printable(text)}\n")


def write_to(stream: TextIO | None, text: str) -> None:
    """Write to a stream for messages at once, if there is one that takes them."""
    if stream is not None:
        with suppress(OSError, ValueError):  # a full disk, a closed stream
            stream.write(text)
            stream.flush()


def is_quiet() -> bool:
    """Whether notes and progress are silenced here, or there is no stderr to write them to."""
    return sys.stderr is None or _IS_QUIET.get()


@contextmanager
def silenced(is_quiet: bool = True) -> Iterator[None]:
    """Silence notes and progress during the block, in this thread; False changes nothing."""
    token = _IS_QUIET.set(is_quiet or _IS_QUIET.get())
    try:
        yield
    finally:
        _IS_QUIET.reset(token)


def prepare_streams() -> None:
    r"""Make the standard streams of this process the same on every system.

    Output is UTF-8 with `\n`, whatever the locale; what UTF-8 lacks (the bytes of a file's name
    that are none) is written as `\xff`. Errors of stderr are ignored. A closed stderr is replaced
    by the null device, and a closed stdout by a stream that raises OSError when it is written to.
    The first file that is opened must not get the descriptor of a closed stream, through which a
    library could write into it. Once more in the same process, this changes nothing.
    """
    _occupy()
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(
            _Closed(),
            encoding="utf-8",
            write_through=True,
        )
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    sys.stdout = _through(_Output, sys.stdout)
    sys.stderr = _through(_Courtesy, sys.stderr)


def _through(kind: "type[_Raw]", stream: Any) -> Any:
    """The stream, writing through a raw stream of a kind; itself if it is no file, or does so."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves out the buffer
    if not isinstance(raw, io.RawIOBase) or isinstance(raw, _Raw | _Closed):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(raw, stream)),
        encoding="utf-8",
        errors="backslashreplace",
        newline="\n",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def is_closed(stream: Any) -> bool:
    """Whether the parent process has closed a standard stream."""
    return stream is None or isinstance(getattr(stream, "buffer", None), _Closed)


def _occupy() -> None:
    """Open the null device in place of the standard streams that are closed."""
    for descriptor in STREAMS:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)  # child processes have the same


class _Raw(io.RawIOBase):
    """A raw stream that writes to another."""

    def __init__(self, raw: io.RawIOBase, owner: Any) -> None:
        self.raw = raw
        self.owner = owner
        """The stream that has `raw`, which would close it when it is deleted."""

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal, also one that is gone."""
        with suppress(OSError, ValueError):
            return self.raw.isatty()
        return False

    def fileno(self) -> int:
        """That of the stream."""
        return self.raw.fileno()


class _Output(_Raw):
    """The results of a command: an error names stdout, as one of a file names the file."""

    def write(self, data: "ReadableBuffer", /) -> int | None:
        """Write some bytes; returns their number. Raises OSError."""
        try:
            return self.raw.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from None


class _Courtesy(_Raw):
    """Messages: failures to write them do not matter."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write what can be written; the rest counts as written."""
        with memoryview(data).cast("B") as view:
            done = 0
            with suppress(OSError, ValueError):
                while done < len(view) and (count := self.raw.write(view[done:])):
                    done += count
            return len(view)


class _Closed(io.RawIOBase):
    """A stdout that the parent process has closed."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Raises OSError."""
        raise OSError(errno.EBADF, "it is closed", STDOUT)

    def writable(self) -> bool:
        """It is, for what asks before it writes."""
        return True
