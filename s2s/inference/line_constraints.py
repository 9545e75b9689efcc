"""Constraints on the output of single lines, as text: read from columns, a file and options."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from s2s.errors import DataError, UsageError
from s2s.inference.nbest import Output, name_lines
from s2s.inference.translator import LineTranslator
from s2s.search.constraints.automaton import Spelling
from s2s.search.constraints.base import Constraint
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import MOST_TERMS, PositiveConstraints, Term
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import ConstraintSpec
from s2s.spaces import is_blank
from s2s.special import UNK
from s2s.text.lines import read_lines
from s2s.text.source_features import with_features
from s2s.text.tokenizer import Tokenizer
from s2s.text.word_boundaries import occurrences, single_spaced

Key = TypeVar("Key")
Value = TypeVar("Value", NegativeConstraints, PositiveConstraints | None)
Terms = tuple[str, ...]

COLUMNS = ("source", "source_features", "image_ids", "prefix", "must", "avoid")
"""Names of the columns that an input may have."""

RENAMED_COLUMNS = {"features": "source_features"}
"""Old names of columns, which are still read."""

BETWEEN_TERMS = "|||"

COMPILED = 64
"""Sets of terms whose compiled form is kept."""

MOST_CELLS = 1 << 26
"""Cells of the tables of all that are kept, of a few bytes each; one may have half of it."""


@dataclass(frozen=True, kw_only=True)
class LineConstraints:
    """The constraints on the output of one line."""

    prefix: str = ""
    """The beginning of the output."""
    must: tuple[str, ...] = ()
    """Terms that must appear, each as often as it is given."""
    avoid: tuple[str, ...] = ()
    """Terms that must not appear."""


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
        """`count` lines of the file from place `first`, at or after the last line read."""
        if self._prefixes is None:
            self._prefixes = read_lines(file)
        skipped = first - self._taken
        found = list(islice(self._prefixes, skipped, skipped + count))
        self._taken = first + len(found)
        if len(found) < count:
            raise DataError(
                f"{file}: expected a line for every line of the input, found only {self._taken:,}"
            )
        return found

    def finish(self, count: int) -> None:
        """All `count` lines of the input are done; raises DataError where prefixes are left."""
        if self.file is None:
            return
        left = read_lines(self.file) if self._prefixes is None else self._prefixes
        if next(left, None) is not None:
            raise DataError(
                f"{self.file}: expected a line for every line of the input, which has {count:,}; "
                "found more"
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


class ConstrainedTranslator:
    """A translator of lines with constraints; it reports outputs that do not meet them."""

    def __init__(
        self, translator: LineTranslator, reader: LineConstraintsReader | GivenConstraints
    ) -> None:
        self.translator = translator
        self.reader = reader
        self.compiler = ConstraintCompiler(translator.target)

    def __call__(self, lines: list[str], first: int = 0) -> list[str]:
        """One translation per line, as `LineTranslator`."""
        return [outputs[0].text for outputs in self.outputs(lines, first)]

    def outputs(self, lines: list[str], first: int = 0, keep: int = 1) -> list[list[Output]]:
        """As `LineTranslator.outputs`; each output names the constraints it does not meet."""
        sources, line_constraints = self.reader.read(lines, first)
        target = self.translator.target
        constraints = self.compiler.compiled(self.translator, sources, line_constraints)
        found = self.translator.outputs(sources, first, keep, constraints)
        checked = [
            [replace(output, unmet=unmet(output.text, constraints, target)) for output in outputs]
            for outputs, constraints in zip(found, line_constraints, strict=True)
        ]
        self._report([outputs[0] for outputs in checked], first)
        return checked

    def _report(self, outputs: list[Output], first: int) -> None:
        """Report outputs that do not meet their constraints, in one line."""
        missed = [
            (first + place, output.unmet)
            for place, output in enumerate(outputs, start=1)
            if output.unmet
        ]
        if not missed:
            return
        kinds = [what.partition(" ")[0] for _, several in missed for what in several]
        parts = [f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds)]
        self.translator.report(
            f"{len(missed):,} of {len(outputs):,} outputs do not meet the constraints of their "
            "lines "
            f"({', '.join(parts)}): {name_lines([number for number, _ in missed])}"
        )


class ConstraintCompiler:
    """Compiles constraints given as text; the same terms are compiled once."""

    def __init__(self, target: Tokenizer) -> None:
        self.target = target
        self.negative: OrderedDict[Terms, NegativeConstraints] = OrderedDict()
        self.positive: OrderedDict[tuple[Terms, Terms], PositiveConstraints | None] = OrderedDict()

    def compiled(
        self,
        translator: LineTranslator,
        lines: Sequence[str],
        line_constraints: Sequence[LineConstraints],
    ) -> list[ConstraintSpec]:
        """The constraints of every line that `translator` reads.

        Raises UsageError for terms of a model that copies.
        """
        if translator.extended_vocabulary is not None and any(
            w.avoid or w.must for w in line_constraints
        ):
            raise UsageError(
                "--must and --avoid work on the vocabulary, and this model copies words outside "
                "of it "
                "(model.copy); leave them out"
            )
        whole = translator.whole(translator.read(translator.tagged(lines)))
        prefixes = translator.read_targets([one.prefix for one in line_constraints], whole)
        return self.constraints(line_constraints, prefixes)

    def constraints(
        self, line_constraints: Sequence[LineConstraints], prefixes: Sequence[Sequence[int]]
    ) -> list[ConstraintSpec]:
        """The constraints of every line; `prefixes` are the ids of their prefixes."""
        return [
            ConstraintSpec(tuple(self._compiled(constraints, prefix)))
            for constraints, prefix in zip(line_constraints, prefixes, strict=True)
        ]

    def _compiled(
        self, constraints: LineConstraints, prefix: Sequence[int]
    ) -> Iterator[Constraint]:
        """The constraints of a line, one of each kind that it has."""
        negative = self._negative(constraints.avoid)
        positive = self._positive(constraints)
        if negative is not None:
            yield negative
        if positive is not None:
            yield positive
        if prefix:
            yield PrefixConstraint(tuple(prefix))

    def _negative(self, terms: Terms) -> NegativeConstraints | None:
        if not terms:
            return None
        if terms not in self.negative:
            spelled = [self._spelled(term)[0] for term in terms]
            self.negative[terms] = NegativeConstraints(
                [text for text in spelled if text], self.spelling
            )
        return _kept(self.negative, terms)

    def _positive(self, constraints: LineConstraints) -> PositiveConstraints | None:
        if not constraints.must:
            return None
        key = (constraints.must, constraints.avoid)
        if key not in self.positive:
            self.positive[key] = self._terms_of(constraints)
        return _kept(self.positive, key)

    def _terms_of(self, constraints: LineConstraints) -> PositiveConstraints | None:
        """The terms that can appear at all; the others would only keep an output from ending."""
        if len(set(constraints.must)) > MOST_TERMS:
            raise DataError(
                f"expected at most {MOST_TERMS} terms that must appear in an output, found "
                f"{len(set(constraints.must))} ({constraints.must[0]!r} ...)"
            )
        avoided = [self._spelled(term)[0] for term in constraints.avoid]
        terms = []
        for text, ids in map(self._spelled, constraints.must):
            is_avoided = any(term and occurrences(text, term) for term in avoided)
            if text and UNK not in ids and not is_avoided:
                terms.append(Term(text, tuple(ids)))
        return PositiveConstraints(terms, self.spelling) if terms else None

    def _spelled(self, term: str) -> tuple[str, list[int]]:
        """The term in the characters that the tokenizer's tokens are made of, and its tokens."""
        (ids,) = self.target.encode([term])
        if UNK in ids:
            return single_spaced(self.target.normalize(term)), ids
        (text,) = self.target.decode([ids])
        joined = self.spelling.text(ids)
        # The decoded text differs from that of the tokens by Unicode composition.
        return single_spaced(text if joined.endswith(text) else joined), ids

    @cached_property
    def spelling(self) -> Spelling:
        """The text of each token."""
        return Spelling(self.target.surfaces())


def _kept(cache: OrderedDict[Key, Value], key: Key) -> Value:
    """The cached value of a key; the least recently used ones are dropped."""
    cache.move_to_end(key)
    cells = sum(one.next_QV.size for one in cache.values() if one is not None)
    while len(cache) > COMPILED or (cells > MOST_CELLS and len(cache) > 1):
        _, dropped = cache.popitem(last=False)
        cells -= 0 if dropped is None else dropped.next_QV.size
    return cache[key]


def unmet(text: str, constraints: LineConstraints, target: Tokenizer) -> tuple[str, ...]:
    """The constraints that a text does not meet."""
    found: list[str] = []
    if not text.startswith(target.normalize(constraints.prefix)):
        found.append(f"prefix {constraints.prefix}")
    for term in dict.fromkeys(constraints.must):
        if occurrences(text, target.normalize(term)) < constraints.must.count(term):
            found.append(f"must {term}")
    for term in constraints.avoid:
        if occurrences(text, target.normalize(term)):
            found.append(f"avoid {term}")
    return tuple(found)
