"""Names characters that are hard to see or to tell apart."""

import unicodedata

LONGEST = 30
"""Characters that are shown of a text."""

NAMED = 3
"""Characters of a text that are named."""


def describe(text: str) -> str:
    """A text in quotes, with the code points of characters that are hard to see or to tell apart.

    Control characters are escaped, so none reaches a terminal.
    """
    named = dict.fromkeys(c for c in text if len(text) == 1 or not c.isprintable())
    codes = ", ".join(map(code_point, list(named)[:NAMED])) if not text.isascii() else ""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{cut!r} ({codes})" if codes else repr(cut)


def code_point(character: str) -> str:
    """`U+00A0 NO-BREAK SPACE`."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
