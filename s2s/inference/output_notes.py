"""Notes about outputs, in one line each: not proven, cut, too short, or without their placeholders.

Every function takes the hypotheses of the pieces of some lines, and the number of pieces up to the
end of each line.
"""

from collections.abc import Callable, Iterator, Sequence

from s2s.inference.nbest import name_lines
from s2s.search.hypothesis import Hypothesis
from s2s.text.extended_vocabulary import EncodedSource
from s2s.text.line_placeholders import LinePlaceholders

Found = Sequence[Sequence[Hypothesis]]


def unproven_note(found: Found) -> str | None:
    """How many outputs are not proven to be the most probable; None if all are."""
    unproven = sum(one[0].proven is False for one in found)
    if not unproven:
        return None
    return (
        f"{unproven:,} of {len(found):,} outputs are not proven to be the most probable: "
        "the search ran out of nodes"
    )


def length_notes(
    found: Found,
    sources: Sequence[EncodedSource],
    ends: Sequence[int],
    first: int,
    shortest: Callable[[EncodedSource], int],
) -> Iterator[str]:
    """The outputs that were cut at the longest length, and those that are shorter than `shortest`.

    `first` is the place of the first line in the input.
    """
    too_long, too_short = set(), set()
    for line, source, one in zip(_lines(ends), sources, found, strict=True):
        is_searched = bool(source.ids or source.rows)
        if is_searched and not one[0].finished:
            too_long.add(first + line + 1)
        elif is_searched and len(one[0].tokens) < shortest(source):
            too_short.add(first + line + 1)
    if too_long:
        yield (
            f"{len(too_long):,} of {len(ends):,} outputs were cut at the longest that "
            f"max_ratio and max_offset allow: {name_lines(sorted(too_long))}"
        )
    if too_short:
        yield (
            f"{len(too_short):,} of {len(ends):,} outputs are shorter than "
            "min_ratio and min_offset require, as nothing else was allowed: "
            f"{name_lines(sorted(too_short))}"
        )


def placeholder_note(
    found: Found,
    sources: Sequence[EncodedSource],
    ends: Sequence[int],
    first: int,
    placeholders: LinePlaceholders,
) -> str | None:
    """How many entities of sources their outputs lack, and how many placeholders outputs make up;
    None where all are as in the sources."""
    total = lacking = made_up = 0
    numbers = set()
    for line, source, one in zip(_lines(ends), sources, found, strict=True):
        missed, added = placeholders.unmatched(source, one[0].tokens)
        total, lacking, made_up = total + len(source.entities), lacking + missed, made_up + added
        if missed or added:
            numbers.add(first + line + 1)
    if not numbers:
        return None
    return (
        f"placeholders: outputs lack {lacking:,} of the {total:,} in their sources and make up "
        f"{made_up:,}: {name_lines(sorted(numbers))}"
    )


def _lines(ends: Sequence[int]) -> Iterator[int]:
    """The line of each piece, from 0."""
    begin = 0
    for line, end in enumerate(ends):
        yield from [line] * (end - begin)
        begin = end
