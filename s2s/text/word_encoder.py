"""Ids of whole texts from the ids of their words, which are remembered.

Most words of a text occurred before in it. Where a tokenizer cuts lines at each space (U+0020), the
ids of a line are those of its words, one after the other, so each word is encoded once.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, compress
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from s2s.special import UNK
from s2s.text.arrays import Growing, ranges
from s2s.text.byte_lines import LineWords
from s2s.text.hash_table import UNKNOWN, HashTable
from s2s.text.margins import Margins
from s2s.text.piece_table import SPACE
from s2s.text.sentencepiece_model import USER_DEFINED, pieces_of
from s2s.text.subword import Subwords
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Words

MOST_WORDS = 2_000_000
"""Words that are remembered, some 150 MB; then they are forgotten and encoded again."""

LONGEST_WORD = 64
"""Bytes; longer words are seldom repeated."""

NOT_ALONE, ANYWHERE = 0.0, np.inf
"""Limits of words whose ids depend on the rest of their line, and of those whose ids never do."""

_OTHER = "x"
"""A word beside others."""

_ROUNDING = 2.0**-24
"""The largest relative error of a sum in float32."""


Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class Rows(NamedTuple):
    """The ids of lines."""

    values: NDArray[np.int32]
    """int32 [all ids], concatenated."""
    lengths: NDArray[np.int64]
    """int64 [lines]."""


class Encoder(Protocol):
    """Encodes lines."""

    def __call__(self, words: LineWords) -> Rows:
        """The ids of the lines, as `Tokenizer.encode` has them."""


class Learned(NamedTuple):
    """What is remembered of new words."""

    ids: Sequence[Sequence[int]]
    limits: Floats
    """float64 [words]; see `WordEncoder`."""


def encoder_of(tokenizer: Tokenizer) -> Encoder:
    """What encodes lines as a tokenizer does, from any number of threads."""
    match tokenizer:
        case Subwords() if (learner := SubwordLearner(tokenizer)).is_usable:
            return WordEncoder(tokenizer.encode_here, learner, learner.largest_score)
        case Words() if " " in tokenizer.separators:
            return WordEncoder(tokenizer.encode, partial(_learn_words, tokenizer), 1.0)
        case _:
            return lambda words: rows_of(tokenizer.encode(list(words.lines)))


class WordEncoder:
    """Encodes lines by their words.

    Each word has a limit: its ids are a part of those of every line whose score, in absolute terms,
    stays below it. Lines with other words are encoded as a whole.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], list[list[int]]],
        learn: Callable[[list[str]], Learned],
        largest_score: float,
    ) -> None:
        """`encode` is that of whole lines; no token scores more than `largest_score` in absolute
        terms."""
        self._encode, self._learn = encode, learn
        self._largest_score = largest_score
        self._memory = _Memory()
        self._lock = threading.Lock()

    def __call__(self, words: LineWords) -> Rows:
        """The ids of the lines."""
        if not len(words.lines):
            return rows_of([])
        numbers, memory = self._numbers(words)
        counts = memory.counts.values.take(numbers)
        lengths = np.add.reduceat(counts, words.firsts, dtype=np.int64)
        whole = self._encoded_whole(words, memory.limits.values.take(numbers), lengths)
        if len(whole):
            is_whole = np.zeros(len(lengths), dtype=np.bool_)
            is_whole[whole] = True
            counts[np.repeat(is_whole, np.diff(words.firsts, append=len(counts)))] = 0
            lengths[whole] = 0
        places = ranges(memory.starts.values.take(numbers), counts)
        values = memory.ids.values.take(places)
        if len(whole):
            ids = self._encode(words.lines.take(whole))
            first, *others = np.split(values, np.cumsum(lengths)[whole])
            rows = [np.array(row, dtype=np.int32) for row in ids]
            values = np.concatenate([first, *chain(*zip(rows, others, strict=True))])
            lengths[whole] = list(map(len, ids))
        return Rows(values, lengths)

    def _encoded_whole(self, words: LineWords, limits: NDArray[Any], lengths: Places) -> Places:
        """int64 [rows]: the lines in which a word depends on the others."""
        bounds = (lengths + LONGEST_WORD) * self._largest_score
        suspects = np.flatnonzero(limits <= bounds.max())
        lines = np.searchsorted(words.firsts, suspects, side="right") - 1
        return np.unique(lines[limits[suspects] <= bounds[lines]])

    def _numbers(self, words: LineWords) -> tuple[Places, "_Memory"]:
        """int64 [words]: the number of each word in the memory, which has all of them."""
        hashes = words.hashes
        while True:
            with self._lock:
                memory = self._memory
                numbers = memory.table.find(hashes)
            missing = np.flatnonzero(numbers == UNKNOWN)
            if not len(missing):
                return numbers, memory
            new, firsts = np.unique(hashes[missing], return_index=True)
            learned = self._learned(words, missing[firsts])
            with self._lock:
                if len(self._memory.table) > MOST_WORDS:
                    self._memory = _Memory()
                self._memory.add(new, learned)
                if self._memory is memory:
                    numbers[missing] = memory.table.find(hashes[missing])
                    return numbers, memory

    def _learned(self, words: LineWords, places: Places) -> Learned:
        is_short = words.lengths[places] <= LONGEST_WORD
        known = iter((short := self._learn(words.texts(places[is_short]))).ids)
        limits = np.full(len(places), NOT_ALONE)
        limits[is_short] = short.limits
        return Learned([next(known) if one else () for one in is_short.tolist()], limits)


class _Memory:
    """Words by their hashes."""

    def __init__(self) -> None:
        self.table = HashTable()
        self.starts = Growing(np.int64)
        self.counts = Growing(np.int32)
        self.limits = Growing(np.float32)
        self.ids = Growing(np.int32)
        """The ids of all words; `starts` has the first of each."""

    def add(self, hashes: NDArray[np.uint64], learned: Learned) -> None:
        """Remember those of the words that are new: another thread may have learned them."""
        is_new = self.table.find(hashes) == UNKNOWN
        rows = rows_of(list(compress(learned.ids, is_new)))
        self.starts.extend(np.cumsum(rows.lengths) - rows.lengths + len(self.ids))
        self.counts.extend(rows.lengths)
        self.limits.extend(learned.limits[is_new])
        self.ids.extend(rows.values)
        self.table.add(hashes[is_new])


class SubwordLearner:
    """Encodes words with a model of sentencepiece, and finds out which may be encoded alone."""

    def __init__(self, tokenizer: Subwords) -> None:
        self._tokenizer = tokenizer
        pieces = tokenizer.piece_table
        self._margins = None if pieces.has_merges else Margins(pieces)
        self._symbols = [one.text for one in pieces_of(tokenizer.model) if one.type == USER_DEFINED]
        self.largest_score = max(map(abs, pieces.scores.values()), default=1.0)
        # A space that is no piece would make one unknown token with what is beside it.
        usual = ["", _OTHER]
        self.is_usable = (
            SPACE in pieces.ids
            and not pieces.crosses_words
            and not any(" " in symbol for symbol in self._symbols)
            and bool(self._are_local(usual, tokenizer.normalized(usual)).all())
        )

    def __call__(self, words: list[str]) -> Learned:
        """The ids and limits of words."""
        normalized = self._tokenizer.normalized(words)
        ids = self._tokenizer.encode_here(words)
        limits = np.full(len(words), ANYWHERE)
        if self._margins is not None:
            sizes = np.fromiter(map(len, normalized), np.int64, len(words))
            limits = self._margins.of(normalized) / (4 * (sizes + 2) * _ROUNDING)
        is_alone = self._are_local(words, normalized)
        for place, (word, row) in enumerate(zip(normalized, ids, strict=True)):
            if UNK in row or any(symbol in word for symbol in self._symbols):
                is_alone[place] = False
        return Learned(ids, np.where(is_alone, limits, NOT_ALONE))

    def _are_local(self, words: Sequence[str], normalized: Sequence[str]) -> NDArray[np.bool_]:
        """bool [words]: whether each is normalized between others as it is alone."""
        normalize = self._tokenizer.normalized
        other = normalize([_OTHER])[0]
        text = _OTHER + "".join(f" {word} {_OTHER}" for word in words)
        if normalize([text])[0] == other + "".join(f"{word}{other}" for word in normalized):
            return np.ones(len(words), dtype=np.bool_)
        between = normalize([f"{_OTHER} {word} {_OTHER}" for word in words])
        pairs = zip(between, normalized, strict=True)
        return np.array([found == f"{other}{word}{other}" for found, word in pairs], dtype=np.bool_)


def _learn_words(tokenizer: Words, words: list[str]) -> Learned:
    return Learned(tokenizer.encode(words), np.full(len(words), ANYWHERE))


def rows_of(ids: Sequence[Sequence[int]]) -> Rows:
    """Lists of ids, concatenated."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return Rows(np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum())), lengths)
