"""What preparation finds out about pairs without knowing others: ids, hashes, lost characters.

It depends on no pair before, so several chunks can be read at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.data.features.lookup import MISSING, Named
from s2s.data.preparation.feature_coverage import FeatureFiles
from s2s.data.preparation.filters import pair_hashes
from s2s.data.preparation.lost_characters import Lost, LostCharacters
from s2s.data.preparation.token_rows import concatenate, empty
from s2s.data.sources.chunks import Chunk
from s2s.data.store import Encoded
from s2s.recipe.filters import Truncate
from s2s.spaces import split_words
from s2s.text.byte_lines import ByteLines, Hashes, LineWords
from s2s.text.extended_vocabulary import ExtendedVocabulary
from s2s.text.line_placeholders import LinePlaceholders
from s2s.text.tags import with_tag
from s2s.text.word_encoder import Encoder

_SPACE_BYTES = (*range(0x21), 0x7F, *range(0x80, 0xC0), 0xC2, 0xE1, 0xE2, 0xE3, 0xEF)
"""First bytes of all white space, invisible spaces included, and of some other characters."""

_BEGINS_TEXT = np.ones(256, dtype=np.bool_)
_BEGINS_TEXT[list(_SPACE_BYTES)] = False

Texts = tuple[Sequence[str], Sequence[str]]


class ReadPairs(NamedTuple):
    """A chunk, read."""

    whole: Chunk
    """All pairs of the chunk."""
    chunk: Chunk
    """The pairs that have all features that they name."""
    lacking: Named | None
    """The features that all pairs name, if some are not there."""
    rows_NF: NDArray[np.int64] | None
    """The rows of feature files of each pair."""
    sources: Sequence[str]
    """Sources with the tag of the chunk."""
    texts: Texts
    """Sources and targets as they became ids."""
    ids: tuple[Encoded, Encoded]
    """The ids of both, not truncated."""
    lost: tuple[Lost, Lost]
    """What the texts lose."""
    is_one_word: NDArray[np.bool_]
    """bool [pairs]: whether a target is one word, or none."""
    hashes: tuple[Hashes, Hashes] | None
    """uint64 [pairs]: hashes of pairs and of sources."""


@dataclass(frozen=True)
class PairReader:
    """Reads the chunks of a split, from any number of threads."""

    encoders: tuple[Encoder, Encoder]
    lost: tuple[LostCharacters, LostCharacters]
    placeholders: LinePlaceholders
    extended_vocabulary: ExtendedVocabulary | None
    features: FeatureFiles | None
    truncate: Truncate
    has_hashes: bool
    """Whether anything compares the pairs."""

    @property
    def has_source_text(self) -> bool:
        """Whether sources have text, not only features."""
        return self.features is None or self.features.lines.has_text

    def __call__(self, whole: Chunk) -> ReadPairs:
        """Raises DataError for features that cannot be read."""
        chunk, named, lacking = self._with_features(whole)
        tag = chunk.tag
        sources = with_tag(chunk.source, tag) if tag else chunk.source
        read_sources = chunk.source if named is None else named.texts
        texts: Texts = (with_tag(read_sources, tag) if tag else read_sources, chunk.target)
        if self.placeholders.placeholders.kinds:
            texts = self.placeholders.replace_pairs(*texts)
        words = (_words_of(texts[0]), _words_of(texts[1]))
        looked_at = texts[0] if self.has_source_text else []
        hashes = None
        if self.has_hashes:
            source = words[0] if texts[0] is chunk.source else _words_of(chunk.source)
            target = words[1] if texts[1] is chunk.target else _words_of(chunk.target)
            hashes = pair_hashes(source, target), source.line_hashes()
        return ReadPairs(
            whole=whole,
            chunk=chunk,
            lacking=lacking,
            rows_NF=None if named is None else named.rows_NF,
            sources=sources,
            texts=texts,
            ids=self._ids(texts, words),
            lost=(self.lost[0].look(looked_at), self.lost[1].look(texts[1])),
            is_one_word=is_one_word(words[1]),
            hashes=hashes,
        )

    def _with_features(self, chunk: Chunk) -> tuple[Chunk, Named | None, Named | None]:
        """The pairs that have all their features, the features that their lines name, and those
        that all lines name if some are not there."""
        if self.features is None:
            return chunk, None, None
        named = self.features.lines.read(chunk.source)
        is_complete = (named.rows_NF != MISSING).all(axis=1)
        if is_complete.all():
            return chunk, named, None
        chunk = chunk.select(is_complete)
        return chunk, self.features.lines.read(chunk.source), named

    def _ids(self, texts: Texts, words: tuple[LineWords, LineWords]) -> tuple[Encoded, Encoded]:
        """Both sides, not truncated; without source text the sources are empty."""
        if self.extended_vocabulary is None:
            source = empty(len(texts[0]))
            if self.has_source_text:
                source = Encoded(*self.encoders[0](words[0]))
            return source, Encoded(*self.encoders[1](words[1]))
        encoded = self.extended_vocabulary.read(texts[0])
        # Tokens that are cut off a source cannot be copied.
        cut = [source.cut(self.truncate.source) for source in encoded]
        target_ids = self.extended_vocabulary.targets(texts[1], cut)
        return concatenate([source.ids for source in encoded]), concatenate(target_ids)


def _words_of(lines: Sequence[str]) -> LineWords:
    return LineWords.of(ByteLines.of(lines))


def is_one_word(words: LineWords) -> NDArray[np.bool_]:
    """bool [lines]: which of them are one word between white space, or none."""
    content, last = words.lines.bytes, len(words.starts) - 1
    found = np.zeros(len(words.firsts), dtype=np.bool_)
    is_sure = np.diff(words.firsts, append=last + 1) > 1
    for place in (words.firsts, np.minimum(words.firsts + 1, last)):
        is_sure &= (words.lengths[place] > 0) & _BEGINS_TEXT[content[words.starts[place]]]
    rows = np.flatnonzero(~is_sure)
    found[rows] = [len(split_words(text)) <= 1 for text in words.lines.take(rows)]
    return found
