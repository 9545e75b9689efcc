"""Rows of one group as one example with several references (`data.columns.group`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s2s.data.sources.chunks import CHUNK_PAIRS, Chunk
from s2s.data.sources.damage import NO_FAULTS
from s2s.data.sources.split import Split, SplitName
from s2s.errors import DataError


@dataclass(frozen=True)
class GroupedSplit:
    """A split of validation or test whose rows are joined by group.

    An example stands in the place of its group's first row, with the target of that row, and has
    the references of all its rows in their order. The rows of a group need not be neighbours, so
    the texts of the whole split are in memory while it is read.
    """

    split: Split
    """Its chunks have groups."""
    name: SplitName

    def fingerprint(self) -> dict[str, Any]:
        """That of the split, whose columns include the group's."""
        return self.split.fingerprint()

    def expected(self) -> None:
        """The number of groups is not known before they are read."""
        return

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError as the split does, and for a group whose rows differ in their source."""
        places: dict[str, int] = {}
        first_rows: list[int] = []
        source: list[str] = []
        target: list[str] = []
        references: list[list[str]] = []
        line_breaks: list[int] = []
        faults = NO_FAULTS
        num_read = 0
        for chunk in self.split.chunks():
            assert chunk.groups is not None, "open_split has the column read"
            texts = chunk.references or [[text] for text in chunk.target]
            faults += chunk.faults
            broken = chunk.line_breaks or [0] * len(texts)
            rows = zip(chunk.groups, chunk.source, chunk.target, texts, broken, strict=True)
            for row, (group, text, answer, options, breaks) in enumerate(rows, start=num_read + 1):
                place = places.setdefault(group, len(source))
                if place == len(source):
                    first_rows.append(row)
                    source.append(text)
                    target.append(answer)
                    references.append([])
                    line_breaks.append(0)
                elif source[place] != text:
                    raise self._unlike(group, (first_rows[place], row), (source[place], text))
                references[place].extend(options)
                line_breaks[place] += breaks
            num_read += len(chunk.source)
        for start in range(0, len(source), CHUNK_PAIRS):
            part = slice(start, start + CHUNK_PAIRS)
            yield Chunk(
                source[part],
                target[part],
                references=references[part],
                line_breaks=line_breaks[part],
                faults=NO_FAULTS if start else faults,
            )

    def _unlike(self, group: str, rows: tuple[int, int], texts: tuple[str, str]) -> DataError:
        one, other = (text if len(text) <= 40 else text[:39] + "…" for text in texts)
        return DataError(
            f"{self.name}: rows {rows[0]} and {rows[1]} are of one group ({group!r}) but have "
            f"different sources, {one!r} and {other!r}; data.columns.group names a column that "
            "tells sources apart"
        )
