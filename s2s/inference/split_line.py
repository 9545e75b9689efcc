"""Splits lines that are too long for the model."""

import re
from collections.abc import Callable

from s2s.spaces import INVISIBLE_SPACES, without_outer_space

_SPACE = rf"[\s{INVISIBLE_SPACES}]"

BOUNDARIES = (
    re.compile(rf"[.!?…؟।]+[\"'”’»)\]]*(?={_SPACE})|[。！？]+[」』”’]*"),
    re.compile(rf"[,;:،؛–—](?={_SPACE})|[、，；：]"),
    re.compile(_SPACE),
)
"""Boundaries to cut a line at, best first: after a sentence, after a clause, between words."""


def split_line(line: str, longest: int, count: Callable[[str], int]) -> list[str]:
    """Pieces of at most `longest` tokens by `count`, made by halving at the best boundaries.

    A single character is a piece whatever its count. Only white space at the cuts is dropped.
    """
    text = without_outer_space(line)
    if len(text) < 2 or count(text) <= longest:
        return [text] if text else []
    cut = _cut(text)
    return [*split_line(text[:cut], longest, count), *split_line(text[cut:], longest, count)]


def _cut(text: str) -> int:
    """The best boundary within the middle half, nearest to the middle; the middle without one."""
    middle = len(text) // 2
    for boundary in BOUNDARIES:
        places = [
            match.end() for match in boundary.finditer(text, middle // 2, middle + middle // 2)
        ]
        if places:
            return min(places, key=lambda place: abs(place - middle))
    return middle
