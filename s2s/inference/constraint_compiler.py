"""Compiles constraints that are given as text for the vocabulary of a model."""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from s2s.errors import DataError, UsageError
from s2s.inference.glossary import Entry, Glossary
from s2s.inference.line_constraints import LineConstraints
from s2s.inference.translator import LineTranslator
from s2s.search.bucketing import longest_output
from s2s.search.constraints.automaton import Spelling
from s2s.search.constraints.base import Constraint
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import MOST_TERMS, PositiveConstraints, Term
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import ConstraintSpec
from s2s.special import UNK
from s2s.text.extended_vocabulary import EncodedSource
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import front_of, untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.word_boundaries import occurrences, single_spaced

Key = TypeVar("Key")
Value = TypeVar("Value", NegativeConstraints, PositiveConstraints | None)
Terms = tuple[str, ...]

COMPILED = 64
"""Sets of terms whose compiled form is kept."""

MOST_CELLS = 1 << 26
"""Cells of the tables of all that are kept, of a few bytes each; one may have half of it."""


class ConstraintCompiler:
    """Compiles constraints given as text; the same terms are compiled once."""

    def __init__(self, target: Tokenizer, glossary: Glossary | None = None) -> None:
        """The terms of a `glossary` are required where a line has them."""
        self.target = target
        self.glossary = glossary
        self._tokens: dict[str, tuple[int, ...]] = {}
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
        has_terms = self.glossary is not None or any(w.avoid or w.must for w in line_constraints)
        if translator.extended_vocabulary is not None and has_terms:
            raise UsageError(
                "--must, --avoid and --glossary work on the vocabulary, and this model copies "
                "words outside of it (model.copy); leave them out"
            )
        sources = translator.read(translator.tagged(lines))
        whole = translator.whole(sources)
        prefixes = translator.read_targets([one.prefix for one in line_constraints], whole)
        if self.glossary is None:
            pairs = zip(line_constraints, whole, strict=True)
            return self.constraints([_replaced(translator, *pair) for pair in pairs], prefixes)
        rows = zip(sources, line_constraints, prefixes, strict=True)
        return [self._with_glossary(self.glossary, translator, row) for row in rows]

    def terms(self, translator: LineTranslator, lines: Sequence[str]) -> list[Terms]:
        """The terms of the glossary that the output of every line is to have."""
        if self.glossary is None:
            return [()] * len(lines)
        sources = translator.read(translator.tagged(lines))
        return [self.glossary.terms(_text_of(translator, source)) for source in sources]

    def _with_glossary(
        self,
        glossary: Glossary,
        translator: LineTranslator,
        row: tuple[EncodedSource, LineConstraints, Sequence[int]],
    ) -> ConstraintSpec:
        """The constraints of a line, and the terms of each of its pieces."""
        source, constraints, prefix = row
        specs = []
        for number, piece in enumerate(translator.pieces_of(source)):
            one = _replaced(translator, constraints.of_piece(number), piece)
            begun = prefix if number == 0 else ()
            longest = longest_output(len(piece.ids), translator.search)
            terms = _known(translator, glossary.terms(_text_of(translator, piece)), piece)
            fitting = self._fitting(terms, one, longest - 1 - len(begun))
            specs.append(self._required(fitting, one, begun))
        if len(specs) > 1:
            return ConstraintSpec(pieces=tuple(specs))
        return specs[0] if specs else ConstraintSpec()

    def _fitting(self, terms: Terms, constraints: LineConstraints, room: int) -> Terms:
        """The terms that an output with `room` for so many tokens can have, the first ones first,
        beside those that the line requires itself."""
        room -= sum(len(self._tokens_of(term)) for term in constraints.must)
        others = Counter(terms) - Counter(constraints.must)
        kept: list[str] = []
        for term in others.elements():
            size = len(self._tokens_of(term))
            several = {*kept, *constraints.must, term}
            if self._is_possible(term) and size <= room and len(several) <= MOST_TERMS:
                kept.append(term)
                room -= size
        return tuple(kept)

    def _required(
        self, terms: Terms, constraints: LineConstraints, prefix: Sequence[int]
    ) -> ConstraintSpec:
        """The constraints with these terms, or with as many of them as tables have room for."""
        while True:
            both = replace(constraints, must=constraints.must + terms)
            try:
                return ConstraintSpec(tuple(self._compiled(both, prefix)))
            except DataError:
                if not terms:
                    raise
                terms = terms[: len(terms) // 2]

    @cached_property
    def impossible(self) -> dict[str, Entry]:
        """Target terms of the glossary that no tokens spell, and the first row of each."""
        found: dict[str, Entry] = {}
        for entry in () if self.glossary is None else self.glossary.entries:
            if not self._is_possible(entry.target):
                found.setdefault(entry.target, entry)
        return found

    def _is_possible(self, term: str) -> bool:
        """Whether tokens spell a term."""
        tokens = self._tokens_of(term)
        return bool(tokens) and UNK not in tokens

    def _tokens_of(self, term: str) -> tuple[int, ...]:
        if term not in self._tokens:
            text, ids = self._spelled(term)
            self._tokens[term] = tuple(ids) if text else ()
        return self._tokens[term]

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


def _text_of(translator: LineTranslator, source: EncodedSource) -> str:
    """The text of a source, without its tags and features."""
    line = translator.placeholders.as_written(source)
    text = line[len(front_of(translator.source, line)) :]
    has_features = isinstance(untagged(translator.source), SourceFeatureTokenizer)
    return text.rpartition(SEPARATOR)[0] if has_features and SEPARATOR in text else text


def _replaced(
    translator: LineTranslator, constraints: LineConstraints, source: EncodedSource
) -> LineConstraints:
    """The constraints with the entities of terms replaced that the source has too: the output has
    their placeholders."""
    if not source.entities:
        return constraints
    must, avoid = (_known(translator, one, source) for one in (constraints.must, constraints.avoid))
    return replace(constraints, must=must, avoid=avoid)


def _known(translator: LineTranslator, terms: Terms, source: EncodedSource) -> Terms:
    return tuple(translator.placeholders.replace_known(terms, [source] * len(terms)))


def _kept(cache: OrderedDict[Key, Value], key: Key) -> Value:
    """The cached value of a key; the least recently used ones are dropped."""
    cache.move_to_end(key)
    cells = sum(one.next_QV.size for one in cache.values() if one is not None)
    while len(cache) > COMPILED or (cells > MOST_CELLS and len(cache) > 1):
        _, dropped = cache.popitem(last=False)
        cells -= 0 if dropped is None else dropped.next_QV.size
    return cache[key]
