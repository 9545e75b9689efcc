"""What a part of the torture counts, and its table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Counts of one command, or of one kind of input."""

    name: str
    numbers: Counter[str] = field(default_factory=Counter)
    """By the head of their column."""
    failures: list[str] = field(default_factory=list)


def table(first: str, columns: Sequence[str], counts: Iterable[Counts]) -> list[str]:
    """The lines of a table in Markdown: a row for each of `counts`."""
    heads = [first, *columns, "failures"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for one in counts:
        cells = [f"{one.numbers[column]:,}" for column in columns]
        lines.append(f"| {one.name} | {' | '.join(cells)} | {len(one.failures)} |")
    return lines
