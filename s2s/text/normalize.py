"""Normalizes target text: removes case and punctuation, as is usual for captions."""

import unicodedata
from functools import cache

from s2s.recipe.filters import TargetText

KEPT = "'’"
"""Punctuation that belongs to words: `dog's`, `'s`."""


def normalize(text: str, recipe: TargetText) -> str:
    """The text as the recipe wants its targets; words are separated by spaces."""
    if recipe.lowercase:
        text = text.lower()
    if recipe.punctuation:
        return text
    words = (_stripped(word) for word in text.split())
    return " ".join(word for word in words if word)


def _stripped(word: str) -> str:
    """A word without the punctuation around it; empty for punctuation alone."""
    start, end = 0, len(word)
    while start < end and _is_removed(word[start]):
        start += 1
    while end > start and _is_removed(word[end - 1]):
        end -= 1
    bare = word[start:end]
    return bare if bare.strip(KEPT) else ""


@cache
def _is_removed(character: str) -> bool:
    return character not in KEPT and unicodedata.category(character).startswith("P")
