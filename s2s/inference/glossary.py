"""A glossary: terms of the source and the translation that each is to have.

Which terms a line has is decided on its text, as whole words; search then constrains the output to
contain their translations (`s2s.inference.constraint_compiler`).
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from s2s.errors import DataError, UsageError
from s2s.messages import printable
from s2s.spaces import is_blank
from s2s.text.lines import name_of, read_lines
from s2s.text.word_boundaries import joins, single_spaced

COMMENT = "#"
"""A line that begins with it is none of terms; `\\#` begins a term with the character itself."""


class Entry(NamedTuple):
    """A row of a glossary."""

    source: str
    target: str
    place: str
    """File and line, for messages."""


@dataclass(frozen=True)
class Glossary:
    """Source terms and their translations."""

    entries: tuple[Entry, ...]
    """In the order of the file; no source term occurs twice."""
    ignore_case: bool = False
    """Whether upper and lower case of the source are equal; targets are as they are written."""

    def __post_init__(self) -> None:
        """Raises DataError, with the place, for a source term that occurs twice."""
        root: dict[str, Any] = {}
        for entry in self.entries:
            node = root
            for character in self._folded(entry.source):
                node = node.setdefault(character, {})
            if (before := node.setdefault("", entry)) is not entry:
                equal = self._why_equal(before.source, entry.source)
                raise DataError(
                    f"{entry.place}: expected every source term once, found "
                    f"'{printable(entry.source)}' again (the first is {before.place}{equal})"
                )
        object.__setattr__(self, "_root", root)

    @classmethod
    def read(cls, path: Path, *, ignore_case: bool = False) -> Self:
        """The glossary of a file: source term, tab, target term in every line.

        Blank lines and lines that begin with `#` are skipped. Raises DataError, with file and line,
        for any other line and for terms that occur twice.
        """
        found = []
        for number, line in enumerate(read_lines(path), start=1):
            if is_blank(line) or line.startswith(COMMENT):
                continue
            place = f"{name_of(path)}:{number}"
            cells = line.removeprefix("\\") if line.startswith(f"\\{COMMENT}") else line
            found.append(_entry(cells.split("\t"), place))
        if not found:
            raise DataError(f"{name_of(path)}: expected terms (source, tab, target), found none")
        return cls(tuple(found), ignore_case)

    @classmethod
    def of(cls, terms: Mapping[str, str], *, ignore_case: bool = False) -> Self:
        """The glossary of a mapping; raises UsageError for what is no text, DataError as `read`."""
        for source, target in terms.items():
            if not isinstance(source, str) or not isinstance(target, str):
                raise UsageError(
                    f"glossary: expected a text for each text, found {source!r}: {target!r}"
                )
        return cls(tuple(_entry(pair, "glossary") for pair in terms.items()), ignore_case)

    def terms(self, text: str) -> tuple[str, ...]:
        """The target terms that the output of a text is to have, in the order of the source, each
        as often as its source terms occur.

        A source term occurs where it stands as whole words; white space and Unicode composition
        make no difference. Of occurrences that overlap the longest counts, of equally long ones the
        first.
        """
        folded = self._folded(text)
        found = sorted(self._found(folded), key=lambda one: (one[0] - one[1], one[0]))
        is_taken = bytearray(len(folded))
        kept = []
        for start, end, entry in found:
            if not any(is_taken[start:end]):
                is_taken[start:end] = b"\1" * (end - start)
                kept.append((start, entry))
        return tuple(entry.target for _, entry in sorted(kept, key=lambda one: one[0]))

    def digest(self) -> str:
        """A hash of all that outputs depend on."""
        pairs = [(entry.source, entry.target) for entry in self.entries]
        text = json.dumps([self.ignore_case, pairs])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def _folded(self, text: str) -> str:
        composed = _composed(text)
        return composed.casefold() if self.ignore_case else composed

    @staticmethod
    def _why_equal(first: str, second: str) -> str:
        """Why terms that are written differently are one."""
        if first == second:
            return ""
        if _composed(first) != _composed(second):
            return ", as case is ignored"
        return ", as Unicode composition makes no difference"

    def _found(self, text: str) -> Iterable[tuple[int, int, Entry]]:
        """Start, end and entry of all occurrences as whole words."""
        root: dict[str, Any] = self._root  # type: ignore[attr-defined]
        for start in range(len(text)):
            if start and joins(text[start - 1]) and joins(text[start]):
                continue
            node = root
            for end in range(start, len(text)):
                if text[end] not in node:
                    break
                node = node[text[end]]
                is_inside = text[end + 1 : end + 2] and joins(text[end]) and joins(text[end + 1])
                if "" in node and not is_inside:
                    yield start, end + 1, node[""]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", single_spaced(text))


def _entry(cells: Iterable[str], place: str) -> Entry:
    """The entry of two cells; raises DataError for any other number and for a blank one."""
    terms = [single_spaced(cell) for cell in cells]
    if len(terms) != 2:
        listed = printable(" ⇥ ".join(terms))
        raise DataError(f"{place}: expected source term, tab, target term, found '{listed:.60}'")
    for side, term in zip(("source", "target"), terms, strict=True):
        if not term:
            raise DataError(f"{place}: expected a {side} term, found nothing but spaces")
    return Entry(terms[0], terms[1], place)
