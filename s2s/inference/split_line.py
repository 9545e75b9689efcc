"""Where a line is cut that is too long for the model."""

import re
from collections.abc import Callable

BOUNDARIES = (
    re.compile(r"[.!?…؟।]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’]*"),
    re.compile(r"[,;:،؛–—](?=\s)|[、，；：]"),
    re.compile(r"\s"),
)
"""Where a line is best cut, best first: after a sentence, after a clause, between words."""


def split_line(line: str, longest: int, count: Callable[[str], int]) -> list[str]:
    """Pieces of at most `longest` tokens by `count`, cut in halves at the best boundaries.

    A single character is a piece whatever its count. White space at the cuts is dropped, nothing
    else.
    """
    text = line.strip()
    if len(text) < 2 or count(text) <= longest:
        return [text] if text else []
    cut = _cut(text)
    return [*split_line(text[:cut], longest, count), *split_line(text[cut:], longest, count)]


def _cut(text: str) -> int:
    """The boundary nearest to the middle, if there is one in the middle half; else the middle."""
    middle = len(text) // 2
    for boundary in BOUNDARIES:
        places = [
            match.end() for match in boundary.finditer(text, middle // 2, middle + middle // 2)
        ]
        if places:
            return min(places, key=lambda place: abs(place - middle))
    return middle
