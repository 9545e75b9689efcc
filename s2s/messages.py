"""Notes to the user: lines on stderr, where the user sees them if stdout is redirected."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IS_QUIET = ContextVar("is_quiet", default=False)


def note(text: str) -> None:
    """Write a note to stderr, with the name of the program, unless notes are silenced."""
    write_line(f"s2s: {text}")


def write_line(text: str) -> None:
    """Write a line to stderr, unless notes are silenced."""
    if not _IS_QUIET.get():
        sys.stderr.write(f"{text}\n")


def is_quiet() -> bool:
    """Whether notes and progress are silenced here."""
    return _IS_QUIET.get()


@contextmanager
def silenced(is_quiet: bool = True) -> Iterator[None]:
    """Silence notes and progress during the block, in this thread; False changes nothing."""
    token = _IS_QUIET.set(is_quiet or _IS_QUIET.get())
    try:
        yield
    finally:
        _IS_QUIET.reset(token)
