"""Placeholders of the lines that a pair of tokenizers reads and writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from s2s.recipe.choices import PlaceholderKind
from s2s.text.extended_vocabulary import EncodedSource
from s2s.text.placeholders import Placeholders
from s2s.text.sentencepiece_model import USER_DEFINED, pieces_of
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.subword import Subwords
from s2s.text.tags import Tagged, untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import Characters, Words


@dataclass(frozen=True)
class LinePlaceholders:
    """Replaces and puts back entities of lines; source features are no text."""

    placeholders: Placeholders
    symbol_of: Mapping[int, str] = field(default_factory=dict)
    """The placeholder of each id of the target that is one."""
    has_features: bool = False
    """Whether a source may be followed by source features."""

    def read(
        self, lines: Sequence[str], encode: Callable[[list[str]], list[EncodedSource]]
    ) -> list[EncodedSource]:
        """Sources as `encode` reads them, with all their entities replaced."""
        parts = list(map(self._split, lines))
        replaced = [self.placeholders.replace(text) for text, _ in parts]
        pairs = zip(replaced, parts, strict=True)
        read = encode([one.text + rest for one, (_, rest) in pairs])
        return [
            source._replace(entities=one.entities) if one.entities else source
            for source, one in zip(read, replaced, strict=True)
        ]

    def replace_pairs(
        self, sources: Sequence[str], targets: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Pairs with the entities replaced that both sides have."""
        if not self.placeholders.kinds:
            return list(sources), list(targets)
        new_sources, new_targets = [], []
        for source, target in zip(sources, targets, strict=True):
            text, rest = self._split(source)
            text, other = self.placeholders.replace_pair(text, target)
            new_sources.append(text + rest)
            new_targets.append(other)
        return new_sources, new_targets

    def replace_known(self, texts: Sequence[str], sources: Sequence[EncodedSource]) -> list[str]:
        """Target texts with the entities replaced of the source at the place of each."""
        pairs = zip(texts, sources, strict=True)
        return [self.placeholders.replace_known(text, source.entities) for text, source in pairs]

    def put_back(self, texts: Sequence[str], sources: Sequence[EncodedSource]) -> list[str]:
        """Outputs with the entities in place of placeholders, those of the source at the place of
        each."""
        pairs = zip(texts, sources, strict=True)
        return [self.placeholders.put_back(text, source.entities) for text, source in pairs]

    def as_written(self, source: EncodedSource) -> str:
        """The text of a source, as its line has it."""
        text, rest = self._split(source.text)
        return self.placeholders.put_back(text, source.entities) + rest

    def _split(self, source: str) -> tuple[str, str]:
        """The text of a source, and its features with the separator before them."""
        if not self.has_features or SEPARATOR not in source:
            return source, ""
        text, _, features = source.rpartition(SEPARATOR)
        return text, SEPARATOR + features

    def unmatched(self, source: EncodedSource, tokens: Sequence[int]) -> tuple[int, int]:
        """The entities of a source that an output lacks, and placeholders that it makes up."""
        written = {self.symbol_of[token] for token in tokens if token in self.symbol_of}
        symbols = {symbol for symbol, _ in source.entities}
        return len(symbols - written), len(written - symbols)


NO_PLACEHOLDERS = LinePlaceholders(Placeholders(()))
"""Leaves all lines as they are."""


def line_placeholders(
    kinds: Sequence[PlaceholderKind], tokenizers: TokenizerPair
) -> LinePlaceholders:
    """The placeholders of a model with these tokenizers; without kinds nothing is replaced."""
    if not kinds:
        return NO_PLACEHOLDERS
    source, target = tokenizers.source, tokenizers.target
    placeholders = Placeholders(kinds, (*symbols_of(source), *symbols_of(target)))
    wanted = set(placeholders.symbols)
    return LinePlaceholders(
        placeholders,
        {id_: one for id_, one in enumerate(target.spellings()) if one in wanted},
        isinstance(untagged(source), SourceFeatureTokenizer),
    )


def lacking(kinds: Sequence[PlaceholderKind], tokenizer: Tokenizer) -> str | None:
    """The first placeholder that is no symbol of a tokenizer; None if all are."""
    if not kinds:
        return None
    known = set(symbols_of(tokenizer))
    return next((one for one in Placeholders(kinds).symbols if one not in known), None)


def symbols_of(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The symbols of a tokenizer, tags included: texts that are one token each."""
    match tokenizer:
        case Tagged():
            return (*tokenizer.tags, *symbols_of(tokenizer.base))
        case SourceFeatureTokenizer():
            return symbols_of(tokenizer.base)
        case Subwords():
            pieces = pieces_of(tokenizer.model)
            return tuple(piece.text for piece in pieces if piece.type == USER_DEFINED)
        case Characters() | Words():
            return tokenizer.symbols.texts
        case _:
            return ()
