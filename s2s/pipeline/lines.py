"""Lines and pairs of lines that a caller in Python gives."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from s2s.errors import UsageError
from s2s.text.lines import one_line, unless_blank

Item = TypeVar("Item")


def read_lines(lines: str | Iterable[str], name: str) -> list[str]:
    """The lines, without their line ends, and blank ones empty, as from a file.

    Raises UsageError, with `name` and the number of the line, for what is not one line of text.
    """
    several = (
        [lines] if isinstance(lines, str) else _listed(lines, name, "a line or a list of lines")
    )
    found = [_line(line, f"{name}, line {number}") for number, line in enumerate(several, start=1)]
    return list(map(unless_blank, found))


def read_pairs(pairs: Any) -> list[tuple[str, str]]:
    """Pairs of lines; raises UsageError for anything else."""
    found = []
    for number, pair in enumerate(_listed(pairs, "pairs", "a pair or a list of pairs"), start=1):
        place = f"pairs, pair {number}"
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise UsageError(f"{place}: expected a source and its translation, found {pair!r:.60}")
        found.append((_line(pair[0], place), _line(pair[1], place)))
    return found


def numbered_batches(items: Sequence[Item], size: int) -> Iterator[tuple[int, list[Item]]]:
    """The items in batches, each with the place of its first, from 0.

    Raises UsageError for a size below 1.
    """
    if size < 1:
        raise UsageError(f"batch_size: expected 1 or more, found {size}")
    for first in range(0, len(items), size):
        yield first, list(items[first : first + size])


def _listed(items: Any, name: str, what: str) -> list[Any]:
    if isinstance(items, bytes) or not isinstance(items, Iterable):
        raise UsageError(f"{name}: expected {what}, found {type(items).__name__}")
    return list(items)


def _line(line: Any, place: str) -> str:
    """A line without its line end."""
    if not isinstance(line, str):
        raise UsageError(f"{place}: expected text, found {type(line).__name__}")
    line = line.removesuffix("\n")
    if "\n" in line:
        raise UsageError(
            f"{place}: expected one line, found a line break; text.splitlines() makes a list"
        )
    text = str(line)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        what = f"U+{code:04X} at character {error.start + 1}, which is no character"
        raise UsageError(f"{place}: expected Unicode text, found {what}") from None
    return one_line(text)
