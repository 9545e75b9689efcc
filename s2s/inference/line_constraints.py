"""Constraints on the output of single lines, as text: read from columns, a file and options."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from s2s.errors import DataError, UsageError
from s2s.spaces import is_blank
from s2s.text.lines import count_lines, read_lines
from s2s.text.source_features import with_features
from s2s.text.tokenizer import Tokenizer
from s2s.text.word_boundaries import occurrences

COLUMNS = ("source", "source_features", "image_ids", "prefix", "must", "avoid")
"""Names of the columns that an input may have."""

RENAMED_COLUMNS = {"features": "source_features"}
"""Old names of columns, which are still read."""

BETWEEN_TERMS = "|||"


@dataclass(frozen=True, kw_only=True)
class LineConstraints:
    """The constraints on the output of one line."""

    prefix: str = ""
    """The beginning of the output."""
    must: tuple[str, ...] = ()
    """Terms that must appear, each as often as it is given."""
    avoid: tuple[str, ...] = ()
    """Terms that must not appear."""

    def of_piece(self, number: int) -> "LineConstraints":
        """Those on piece `number`, from 0, of a line that is translated in pieces."""
        return self if number == 0 else LineConstraints(avoid=self.avoid)


def parse_columns(text: str) -> tuple[str, ...]:
    """The names in `source,prefix,...`; raises UsageError for other names."""
    written = (name.strip() for name in text.split(","))
    names = tuple(RENAMED_COLUMNS.get(name, name) for name in written)
    known = ", ".join(COLUMNS)
    for name in names:
        if name not in COLUMNS:
            raise UsageError(f"--columns: expected some of {known}, found '{name}'")
    if len(set(names)) < len(names):
        raise UsageError(f"--columns: expected every column once, found '{text}'")
    if "source" not in names:
        raise UsageError(f"--columns: expected source among them, found '{text}'")
    return names


class LineConstraintsReader:
    """Splits lines of input into sources and constraints."""

    def __init__(
        self,
        *,
        columns: tuple[str, ...] | None = None,
        prefixes: Path | None = None,
        every: LineConstraints | None = None,
    ) -> None:
        """`prefixes` is a file whose line i belongs to line i of the input; `every` has terms for
        all lines.

        Raises UsageError where prefixes come from both a column and a file, and for empty terms.
        """
        self.every = every or LineConstraints()
        for option, terms in (("--must", self.every.must), ("--avoid", self.every.avoid)):
            if any(map(is_blank, terms)):
                raise UsageError(f"{option}: expected a term, found nothing but spaces")
        if prefixes is not None and columns is not None and "prefix" in columns:
            raise UsageError("prefixes come from --prefix-file or from a column, not from both")
        self.columns = columns
        self.file = prefixes
        self._prefixes: Iterator[str] | None = None
        self._taken = 0

    @property
    def has_terms(self) -> bool:
        """Whether lines may have positive constraints."""
        return bool(self.every.must) or "must" in (self.columns or ())

    def read(self, lines: Sequence[str], first: int) -> tuple[list[str], list[LineConstraints]]:
        """Sources and their constraints; `first` is the place of the first line, from 0.

        Raises DataError for a line without its columns, and for a file of prefixes that is shorter
        than the input.
        """
        rows = [self._cells(line, first + place) for place, line in enumerate(lines, start=1)]
        sources = [row["source"] for row in rows]
        for name in ("source_features", "image_ids"):
            if name in (self.columns or ()):
                sources = with_features(sources, [row[name] for row in rows])
        prefixes = [row.get("prefix", "") for row in rows]
        if self.file is not None:
            prefixes = self._lines_of(self.file, first, len(lines))
        line_constraints = [
            LineConstraints(
                prefix=prefix,
                must=self.every.must + _terms(row.get("must", "")),
                avoid=self.every.avoid + _terms(row.get("avoid", "")),
            )
            for row, prefix in zip(rows, prefixes, strict=True)
        ]
        return sources, line_constraints

    def _lines_of(self, file: Path, first: int, count: int) -> list[str]:
        """`count` lines of the file from place `first`; those before the last line read are read
        again from the beginning."""
        if self._prefixes is None or first < self._taken:
            self._prefixes, self._taken = read_lines(file), 0
        skipped = first - self._taken
        found = list(islice(self._prefixes, skipped, skipped + count))
        self._taken = first + len(found)
        if len(found) < count:
            raise self._too_few(file, self._taken)
        return found

    def finish(self, count: int) -> None:
        """All `count` lines of the input are done; raises DataError where prefixes are left."""
        if self.file is None:
            return
        left = read_lines(self.file) if self._prefixes is None else self._prefixes
        if next(left, None) is not None:
            raise self._too_many(self.file, count)

    def check_file(self, count: int) -> None:
        """Raises DataError unless there are prefixes for the `count` lines of an input."""
        if self.file is None:
            return
        found = count_lines(self.file)
        if found < count:
            raise self._too_few(self.file, found)
        if found > count:
            raise self._too_many(self.file, count)

    @staticmethod
    def _too_few(file: Path, found: int) -> DataError:
        return DataError(
            f"{file}: expected a line for every line of the input, found only {found:,}"
        )

    @staticmethod
    def _too_many(file: Path, count: int) -> DataError:
        return DataError(
            f"{file}: expected a line for every line of the input, which has {count:,}; found more"
        )

    def _cells(self, line: str, number: int) -> dict[str, str]:
        if self.columns is None:
            return {"source": line}
        if is_blank(line):
            return dict.fromkeys(self.columns, "")
        cells = line.split("\t")
        if len(cells) != len(self.columns):
            raise DataError(
                f"line {number}: expected {len(self.columns)} columns between tabs "
                f"({', '.join(self.columns)}), found {len(cells)}"
            )
        return dict(zip(self.columns, cells, strict=True))


class GivenConstraints:
    """Constraints that are given beside the lines: the same for all, or one for each."""

    def __init__(self, constraints: LineConstraints | Sequence[LineConstraints]) -> None:
        """Raises UsageError for terms that are not a sequence of texts."""
        self.for_all = isinstance(constraints, LineConstraints)
        several = [constraints] if isinstance(constraints, LineConstraints) else constraints
        self.constraints = list(map(_checked, several))
        self.has_terms = any(one.must for one in self.constraints)

    def read(self, lines: Sequence[str], first: int) -> tuple[list[str], list[LineConstraints]]:
        """The lines and their constraints; `first` is the place of the first line, from 0."""
        if self.for_all:
            return list(lines), self.constraints * len(lines)
        return list(lines), self.constraints[first : first + len(lines)]


def _checked(constraints: LineConstraints) -> LineConstraints:
    """The constraints, with tuples for the lists that a caller may have written."""
    for name in ("must", "avoid"):
        terms: Any = getattr(constraints, name)
        if isinstance(terms, str) or not all(isinstance(t, str) and not is_blank(t) for t in terms):
            raise UsageError(f"{name}: expected terms such as ['ice cream'], found {terms!r}")
    return replace(constraints, must=tuple(constraints.must), avoid=tuple(constraints.avoid))


def _terms(cell: str) -> tuple[str, ...]:
    return tuple(term for term in cell.split(BETWEEN_TERMS) if not is_blank(term))


def unmet(
    text: str, constraints: LineConstraints, target: Tokenizer, terms: Sequence[str] = ()
) -> tuple[str, ...]:
    """The constraints that a text does not meet; `terms` are those of a glossary."""
    found: list[str] = []
    if not text.startswith(target.normalize(constraints.prefix)):
        found.append(f"prefix {constraints.prefix}")
    for term in dict.fromkeys(constraints.must):
        if occurrences(text, target.normalize(term)) < constraints.must.count(term):
            found.append(f"must {term}")
    for term in dict.fromkeys(terms):
        if occurrences(text, target.normalize(term)) < terms.count(term):
            found.append(f"glossary {term}")
    for term in constraints.avoid:
        if occurrences(text, target.normalize(term)):
            found.append(f"avoid {term}")
    return tuple(found)
