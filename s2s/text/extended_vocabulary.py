"""The extended vocabulary of a model that copies (See et al. 2017): ids of unknown source tokens.

Extended ids (`s2s.nn.pointer` reads them), of a target vocabulary of V tokens and a source
vocabulary of V':

- target: 0 to V-1 are tokens; V + j is an unknown token that occurs first at source position j;
- source: 0 to V'-1 are tokens; V' + x is an unknown token with the extended target id x.

Tokens without text, such as source features, are not copied. So data and search have ids alone; the
text of the source turns V + j into text.
"""

import copy
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.recipe.model import Model
from s2s.special import SPECIAL_PIECES, UNK
from s2s.text.piece_table import SPACE
from s2s.text.placeholders import Entities
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import Subwords
from s2s.text.tags import untagged
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import Characters, Words

NO_TARGET = -1
"""Target id of a source token that is only in the source's vocabulary."""

NOT_COPIED = -2
"""Target id of tokens that are never copied."""

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class EncodedSource(NamedTuple):
    """A source line as ids, with its text."""

    ids: list[int]
    """Ids without end of sentence, extended if the model copies."""
    spellings: list[str]
    """The text of a copy of each token, as the target's tokenizer spells it; empty if the model
    does not copy."""
    text: str
    """The whole line, without ids of features."""
    rows: tuple[int, ...] = ()
    """Rows of the feature files, if sources have some."""
    entities: Entities = ()
    """What the placeholders in `text` stand for."""

    def cut(self, most: int | None) -> "EncodedSource":
        """Its first `most` tokens; all of them if None."""
        return self._replace(ids=self.ids[:most], spellings=self.spellings[:most])


class ExtendedVocabulary:
    """A pair of tokenizers with extended ids."""

    def __init__(self, tokenizers: TokenizerPair) -> None:
        self.source = tokenizers.source
        self.target = tokenizers.target
        self._known = {
            spelling: id_
            for id_, spelling in enumerate(self.target.spellings())
            if id_ >= len(SPECIAL_PIECES) and spelling
        }
        self._spellings = [self._spelled(spelling) for spelling in self.source.spellings()]
        self.target_of_source = self._table()

    def segmented_by(self, tokenizers: TokenizerPair) -> "ExtendedVocabulary":
        """The same vocabulary, with tokenizers that cut texts into other pieces of it."""
        other = copy.copy(self)
        other.source, other.target = tokenizers.source, tokenizers.target
        return other

    def _table(self) -> NDArray[np.int64]:
        """int64 [V'], the target id of every source id; see `s2s.nn.pointer`."""
        found = [
            self._known.get(spelling, NO_TARGET) if spelling else NOT_COPIED
            for spelling in self._spellings
        ]
        table = np.array(found, dtype=np.int64)
        table[: len(SPECIAL_PIECES)] = NOT_COPIED
        return table

    def read(self, lines: Sequence[str]) -> list[EncodedSource]:
        """Source lines as extended ids."""
        return [
            self._read(line, row)
            for line, row in zip(lines, self.source.encode(lines), strict=True)
        ]

    def _read(self, line: str, row: list[int]) -> EncodedSource:
        if UNK not in row:
            return EncodedSource(row, [self._spellings[id_] for id_ in row], line)
        unknown = iter(self.source.unknown([line])[0])
        spellings = [
            self._spelled(next(unknown)) if id_ == UNK else self._spellings[id_] for id_ in row
        ]
        first = _firsts(spellings)
        size, beyond = self.source.size, self.target.size
        ids = [
            size + self._known.get(spelling, beyond + first[spelling])
            if id_ == UNK and spelling
            else id_
            for id_, spelling in zip(row, spellings, strict=True)
        ]
        return EncodedSource(ids, spellings, line)

    def targets(self, lines: Sequence[str], sources: Sequence[EncodedSource]) -> list[list[int]]:
        """Target lines as extended ids; unknown tokens are looked up in the source of each line."""
        rows = self.target.encode(lines)
        for place, row in enumerate(rows):
            if UNK in row:
                unknown = iter(self.target.unknown([lines[place]])[0])
                first, beyond = _firsts(sources[place].spellings), self.target.size
                places = (first.get(spelling) for spelling in unknown)
                copies = (UNK if found is None else beyond + found for found in places)
                rows[place] = [next(copies) if id_ == UNK else id_ for id_ in row]
        return rows

    def decode(self, rows: Iterable[Sequence[int]], sources: Iterable[EncodedSource]) -> list[str]:
        """The text of extended target ids, given the source of each row."""
        pairs = [(row, source.spellings) for row, source in zip(rows, sources, strict=True)]
        size = self.target.size
        texts = self.target.decode([[t for t in row if t < size] for row, _ in pairs])
        copied = [i for i, (row, _) in enumerate(pairs) if any(t >= size for t in row)]
        spelled = self.target.spell([self.spellings(*pairs[i]) for i in copied])
        for place, text in zip(copied, spelled, strict=True):
            texts[place] = text
        return texts

    def spellings(self, row: Sequence[int], source: Sequence[str]) -> list[str]:
        """The spelling of each extended target id, given the spellings of its source."""
        known, size = self.target.spellings(), self.target.size
        return [known[token] if token < size else source[token - size] for token in row]

    def pieces(self, row: Sequence[int], source: Sequence[str]) -> list[str]:
        """The labels of extended target ids, as in `Tokenizer.pieces`."""
        size = self.target.size
        shown = self.target.pieces([min(token, size - 1) for token in row])
        return [
            piece if token < size else source[token - size].replace(" ", SPACE)
            for token, piece in zip(row, shown, strict=True)
        ]

    def _spelled(self, spelling: str) -> str:
        """A source token's spelling as the target's tokenizer would spell it."""
        source, target = untagged(self.source), untagged(self.target)
        if isinstance(source, SourceFeatureTokenizer):
            source = source.base
        if not spelling:
            return ""
        if (
            isinstance(source, Subwords)
            and _BYTE.fullmatch(spelling)
            and spelling not in self._known
        ):
            return ""  # a single byte is not text
        match source, target:
            case Words(), Subwords():
                return SPACE + spelling
            case Subwords(), Words():
                return spelling.replace(SPACE, "")
            case Subwords(), Characters():
                return spelling.replace(SPACE, " ")
            case Characters(), Subwords():
                return spelling.replace(" ", SPACE)
            case _:
                return spelling


def extended_vocabulary_of(recipe: Model, tokenizers: TokenizerPair) -> ExtendedVocabulary | None:
    """The extended vocabulary of a model that copies; None for others."""
    return ExtendedVocabulary(tokenizers) if recipe.copy == "pointer" else None


def _firsts(spellings: Sequence[str]) -> dict[str, int]:
    """The first position of each spelling."""
    first: dict[str, int] = {}
    for place, spelling in enumerate(spellings):
        first.setdefault(spelling, place)
    return first
