"""Word boundaries: occurrences of a term in a text as whole words.

Two adjacent characters belong to one word if both join. Letters, digits, marks and `_` join, except
in scripts without spaces between words: a term of such a script counts wherever its characters
occur.
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
"""First and last code points of scripts without spaces between words."""

INVISIBLE = "\u00ad\u200c\u200d"
"""Soft hyphen, zero width non-joiner and joiner, which occur within words."""


@cache
def joins(character: str) -> bool:
    """Whether a character forms one word with an adjacent one that joins too."""
    code = ord(character)
    if any(first <= code <= last for first, last in SPACELESS):
        return False
    is_mark = unicodedata.category(character).startswith("M")
    return character.isalnum() or is_mark or character == "_" or character in INVISIBLE


def single_spaced(text: str) -> str:
    """The text with single spaces (U+0020) for white space, and none at its ends."""
    return " ".join(text.split())


def occurrences(text: str, term: str) -> int:
    """The number of occurrences of a term in a text as whole words; they may overlap.

    Case matters; all white space is equal. A term without characters occurs nowhere: that is what
    tokenizers make of some.
    """
    text, term = single_spaced(text), single_spaced(term)
    if not term:
        return 0
    count, start = 0, text.find(term)
    while start >= 0:
        end = start + len(term)
        is_part = start > 0 and joins(text[start - 1]) and joins(term[0])
        is_part |= end < len(text) and joins(term[-1]) and joins(text[end])
        count += not is_part
        start = text.find(term, start + 1)
    return count
