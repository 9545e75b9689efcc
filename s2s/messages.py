"""Notes to the user: lines on stderr, where the user sees them if stdout is redirected.

Names, paths and texts in them may be anybody's, and a terminal obeys control characters. So all
that s2s prints for readers goes through `printable`; results, such as translations, do not.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_IS_QUIET = ContextVar("is_quiet", default=False)

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls (ISO 6429), with which terminals are told to do things; the ends of lines and
paragraphs; and what changes the direction of the text that follows (Unicode Annex 9)."""


def printable(text: str) -> str:
    r"""The text as one line that a terminal only shows: `\x1b` for ESC, `\n` for a line break,
    `\u202e` for an override of the direction."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(content: Any) -> str:
    """JSON on one line, in which the same characters are escaped as JSON has it."""
    import json

    text = json.dumps(content, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def note(text: str) -> None:
    """Write a note to stderr, with the name of the program, unless notes are silenced."""
    write_line(f"s2s: {text}")


def write_line(text: str) -> None:
    """Write a line to stderr, unless notes are silenced."""
    if not _IS_QUIET.get():
        sys.stderr.write(f"{printable(text)}\n")


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
