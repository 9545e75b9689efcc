"""What sampled segmentations share: pieces of a model, words of a text, arrays that grow."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from s2s.special import UNK

SPACE = "▁"
"""The space of sentencepiece (U+2581)."""

_WORD = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+")


def split_pieces(line: str) -> list[str]:
    """The words of a normalized line, each with the space before it."""
    return _WORD.findall(line)


Ids = NDArray[np.int64]


class Segmenter(Protocol):
    """Draws segmentations of words."""

    def draw(self, words: Sequence[str], random: np.random.Generator) -> tuple[Ids, Ids]:
        """The pieces of all words, int64 [pieces], and their number for each, int64 [words]."""


class PieceTable:
    """The pieces of a sentencepiece model, and what becomes of characters without one."""

    def __init__(self, processor: sentencepiece.SentencePieceProcessor) -> None:
        self.ids: dict[str, int] = {}
        self.scores: dict[str, float] = {}
        self._bytes: dict[int, int] = {}
        for token in range(processor.get_piece_size()):
            piece = str(processor.id_to_piece(token))
            if processor.is_byte(token):  # written <0x0A>
                self._bytes[int(piece[1:-1], 16)] = token
            elif not (
                processor.is_control(token)
                or processor.is_unknown(token)
                or processor.is_unused(token)
            ):
                self.ids[piece] = token
                self.scores[piece] = float(processor.get_score(token))
        self.longest = max(map(len, self.ids), default=1)
        self.crosses_words = any(SPACE in piece[1:] for piece in self.ids)

    @property
    def has_merges(self) -> bool:
        """Whether the model is BPE: its scores are the negative ranks of merges, whole numbers,
        and those of a unigram model are logarithms of probabilities."""
        return all(score == round(score) for score in self.scores.values())

    def unknown(self, character: str) -> list[int]:
        """The ids of a character without a piece: its bytes, if the model has them."""
        if not self._bytes:
            return [UNK]
        return [self._bytes[byte] for byte in character.encode()]

    def words(self, line: str) -> list[str]:
        """The parts of a normalized line that no piece crosses, each with the space before it."""
        if self.crosses_words:
            return [line] if line else []
        return _WORD.findall(line)


def draw_rows(
    pieces: PieceTable, segmenter: Segmenter, lines: Iterable[str], random: np.random.Generator
) -> list[list[int]]:
    """Ids of normalized lines with drawn segmentations; adjacent UNK are one, as best ones have."""
    split = [pieces.words(line) for line in lines]
    ids, counts = segmenter.draw([word for words in split for word in words], random)
    ends = np.concatenate([[0], np.cumsum(counts)])[np.cumsum([0, *map(len, split)])]
    if (is_unknown := ids == UNK).any():
        is_again = np.concatenate([[False], is_unknown[1:] & is_unknown[:-1]])
        is_again[ends[:-1][ends[:-1] < len(ids)]] = False
        ids = ids[~is_again]
        ends = ends - np.concatenate([[0], np.cumsum(is_again)])[ends]
    flat, bounds = ids.tolist(), ends.tolist()
    return [flat[begin:end] for begin, end in pairwise(bounds)]


def remembered(known: dict[str, int], words: Sequence[str], add: Callable[[str], int]) -> Ids:
    """The number of each word, int64 [words]; `add` makes that of a new one."""
    for word in dict.fromkeys(words):
        if word not in known:
            known[word] = add(word)
    return np.array([known[word] for word in words], dtype=np.int64)
