"""Text without case and punctuation, as captions are compared."""

import unicodedata
from functools import cache

from s2s.recipe.filters import TargetText

KEPT = "'’"
"""Punctuation that belongs to words: `dog's`, `'s`."""


def plain(text: str, how: TargetText) -> str:
    """The text as the recipe wants its targets; words are what stands between spaces."""
    if how.lowercase:
        text = text.lower()
    if how.punctuation:
        return text
    words = (_bare(word) for word in text.split())
    return " ".join(word for word in words if word)


def _bare(word: str) -> str:
    """A word without the punctuation around it; nothing if there is nothing else to it."""
    start, end = 0, len(word)
    while start < end and _is_loose(word[start]):
        start += 1
    while end > start and _is_loose(word[end - 1]):
        end -= 1
    bare = word[start:end]
    return bare if bare.strip(KEPT) else ""


@cache
def _is_loose(character: str) -> bool:
    return character not in KEPT and unicodedata.category(character).startswith("P")
