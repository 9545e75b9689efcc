"""Where words end: whether a term stands in a text as whole words.

Two characters that stand side by side are parts of one word where both join. Letters, digits,
marks and `_` join, but for scripts written without spaces between words: there nothing does, so
that a term of such a script counts wherever its characters stand.
"""

import unicodedata
from functools import cache

SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # iteration marks of ideographs
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31C0, 0x31FF),  # strokes, small Katakana
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # ideographs
    (0xFF66, 0xFF9F),  # narrow Katakana
    (0x1AFF0, 0x1B16F),  # Kana
    (0x20000, 0x3FFFF),  # ideographs
)
"""Code points, first and last, of scripts that put no spaces between words."""

INVISIBLE = "\u00ad\u200c\u200d"
"""Soft hyphen, zero width non-joiner and joiner: they stand within words."""


@cache
def joins(character: str) -> bool:
    """Whether a character makes one word with a neighbour that joins too."""
    code = ord(character)
    if any(first <= code <= last for first, last in SPACELESS):
        return False
    is_mark = unicodedata.category(character).startswith("M")
    return character.isalnum() or is_mark or character == "_" or character in INVISIBLE


def single_spaced(text: str) -> str:
    """The text with a single space (U+0020) for any white space, none at its ends."""
    return " ".join(text.split())


def occurrences(text: str, term: str) -> int:
    """How often a term stands in a text as whole words; they may overlap.

    Upper and lower case differ; any white space is like any other.
    """
    text, term = single_spaced(text), single_spaced(term)
    count, start = 0, text.find(term)
    while start >= 0:
        end = start + len(term)
        is_glued = start > 0 and joins(text[start - 1]) and joins(term[0])
        is_glued |= end < len(text) and joins(term[-1]) and joins(text[end])
        count += not is_glued
        start = text.find(term, start + 1)
    return count
