"""Sampled segmentations of a BPE model: BPE-dropout (Provilkov et al. 2020).

Of the pairs of adjacent symbols that can merge, the one of the best rank is next, the leftmost of
equals. It is left out with probability p, and then does not come back until one of its symbols has
merged with another, as in sentencepiece; the paper gives it another chance after every merge.

The decision that is the first to leave a merge out has a geometric distribution. Where a word has
fewer decisions, it gets its best segmentation, which is remembered. All other words of a text are
merged together, one decision of each at a time.

Dimension letters: L symbols of a word, with one before and one after it; N words.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from s2s.text.arrays import Growing
from s2s.text.piece_table import Ids, PieceTable

MOST_PIECES = 1 << 22
"""Pieces of the words that are remembered, some 100 MB; then they are forgotten and found again.
What is drawn does not depend on it."""

_MOST_SYMBOLS = 1 << 20
"""Symbols that are merged together, which bounds the memory."""

_NO_SYMBOL = -1
"""The symbol around a word, and in place of one that has merged with that before it."""

_PLACE_BITS = 24
"""A pair is one number, its rank shifted by so many bits and its place in the word."""

_NO_PAIR = np.iinfo(np.int64).max


class _Words(NamedTuple):
    """Words of similar length as symbols, before any merge."""

    places: Ids
    symbols_LN: Ids


class BPEDropout:
    """Draws segmentations of a BPE model."""

    def __init__(self, pieces: PieceTable, probability: float) -> None:
        """`probability`: of leaving a merge out."""
        self._pieces = pieces
        self._probability = probability
        ranked = sorted(pieces.ids, key=lambda piece: -pieces.scores[piece])
        self._token_of_rank = np.array([pieces.ids[piece] for piece in ranked], dtype=np.int64)
        found = sorted(
            ((pieces.ids[left] << 32) + pieces.ids[right], rank)
            for rank, piece in enumerate(ranked)
            for cut in range(1, len(piece))
            if (left := piece[:cut]) in pieces.ids and (right := piece[cut:]) in pieces.ids
        )
        # Ends with a key that no pair has.
        self._keys = np.array([*(key for key, _ in found), _NO_PAIR], dtype=np.int64)
        self._ranks = np.array([*(rank for _, rank in found), 0], dtype=np.int64)
        # Symbols are the ids of pieces; characters without one are numbered from here.
        self._first_unknown = max(pieces.ids.values(), default=0) + 1
        self._unknown: list[list[int]] = []
        self._symbol_of = np.full(0x110000, _NO_SYMBOL, dtype=np.int64)
        self._forget()

    def _forget(self) -> None:
        self._words: dict[str, int] = {}
        self._tokens, self._begins = Growing(), Growing()
        self._begins.extend([0])
        self._decisions = Growing()

    def draw(self, words: Sequence[str], random: np.random.Generator) -> tuple[Ids, Ids]:
        """The pieces of all words, int64 [pieces], and their number for each, int64 [words]."""
        if len(self._tokens) > MOST_PIECES:
            self._forget()
        self._remember([word for word in dict.fromkeys(words) if word not in self._words])
        numbers = np.array([self._words[word] for word in words], dtype=np.int64)
        first = random.geometric(self._probability, len(words))
        changed = np.flatnonzero(first <= self._decisions.values[numbers])
        drawn, drawn_counts, _ = self._merge(
            [words[place] for place in changed.tolist()], first[changed], random
        )

        counts = self._begins.values[numbers + 1] - self._begins.values[numbers]
        starts = self._begins.values[numbers]
        counts[changed] = drawn_counts
        starts[changed] = len(self._tokens) + np.cumsum(drawn_counts) - drawn_counts
        shift = starts - np.cumsum(counts) + counts
        every = np.concatenate([self._tokens.values, drawn])
        return every[np.repeat(shift, counts) + np.arange(counts.sum())], counts

    def _remember(self, words: list[str]) -> None:
        """Find the best segmentations of new words."""
        tokens, counts, decisions = self._merge(words)
        known = len(self._words)
        self._words.update((word, known + new) for new, word in enumerate(words))
        self._begins.extend(len(self._tokens) + np.cumsum(counts))
        self._tokens.extend(tokens)
        self._decisions.extend(decisions)

    def _merge(
        self,
        words: Sequence[str],
        first: Ids | None = None,
        random: np.random.Generator | None = None,
    ) -> tuple[Ids, Ids, Ids]:
        """The pieces of words, their number for each word, and that of its decisions.

        `first`, int64 [words]: the decision, from 1, that is the first to leave a merge out; all
        merges are made if None.
        """
        rows: list[list[int]] = [[]] * len(words)
        decisions = np.zeros(len(words), dtype=np.int64)
        for places, symbols_LN in self._symbols(words):
            chosen = None if first is None else first[places]
            decisions[places] = self._merge_all(symbols_LN, chosen, random)
            symbols_NL = symbols_LN.T
            is_there = symbols_NL != _NO_SYMBOL
            ends = np.cumsum(is_there.sum(1)).tolist()
            flat = symbols_NL[is_there].tolist()
            for place, begin, end in zip(places.tolist(), [0, *ends], ends, strict=False):
                rows[place] = flat[begin:end]
        if self._unknown:
            rows = [self._spelled(row) for row in rows]
        counts = np.array([len(row) for row in rows], dtype=np.int64)
        return np.array([token for row in rows for token in row], dtype=np.int64), counts, decisions

    def _spelled(self, row: list[int]) -> list[int]:
        """Symbols as ids of pieces."""
        start = self._first_unknown
        if not row or max(row) < start:
            return row
        parts = ([symbol] if symbol < start else self._unknown[symbol - start] for symbol in row)
        return [token for part in parts for token in part]

    def _symbols(self, words: Sequence[str]) -> Iterator[_Words]:
        """The words as symbols, in groups of similar length."""
        lengths = np.array([len(word) for word in words], dtype=np.int64)
        begins = np.cumsum(lengths) - lengths
        text = "".join(words)
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        for code in np.unique(codes[self._symbol_of[codes] == _NO_SYMBOL]).tolist():
            symbol = self._pieces.ids.get(chr(code))
            if symbol is None:
                symbol = self._first_unknown + len(self._unknown)
                self._unknown.append(self._pieces.unknown(chr(code)))
            self._symbol_of[code] = symbol
        symbols = self._symbol_of[codes]

        widths = _widths(lengths)
        for width in np.unique(widths).tolist():
            group = np.flatnonzero(widths == width)
            most = max(1, _MOST_SYMBOLS // (width + 2))
            for start in range(0, len(group), most):
                places = group[start : start + most]
                symbols_LN = np.full((width + 2, len(places)), _NO_SYMBOL, dtype=np.int64)
                size = lengths[places]
                columns = np.repeat(np.arange(len(places)), size)
                offsets = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
                symbols_LN[offsets + 1, columns] = symbols[
                    np.repeat(begins[places], size) + offsets
                ]
                yield _Words(places, symbols_LN)

    def _merge_all(
        self, symbols_LN: Ids, first: Ids | None, random: np.random.Generator | None
    ) -> Ids:
        """Merge the symbols in place; the number of decisions of each word, int64 [N]."""
        length, num = symbols_LN.shape
        decisions = np.zeros(num, dtype=np.int64)
        before_LN = np.repeat(np.arange(-1, length - 1)[:, None], num, axis=1)
        after_LN = before_LN + 2
        pairs_LN = np.full((length, num), _NO_PAIR, dtype=np.int64)
        pairs_LN[:-1] = self._pairs(symbols_LN[:-1], symbols_LN[1:], np.arange(length - 1)[:, None])
        columns = np.arange(num)  # the words that `pairs_LN` has
        while True:
            best = pairs_LN.min(axis=0)
            is_open = best != _NO_PAIR
            if not is_open.any():
                return decisions
            if is_open.mean() < 0.75:
                pairs_LN, columns, best = pairs_LN[:, is_open], columns[is_open], best[is_open]
                is_open = best != _NO_PAIR
            own = np.flatnonzero(is_open)
            word, pair = columns[own], best[own]
            place, rank = pair & ((1 << _PLACE_BITS) - 1), pair >> _PLACE_BITS
            pairs_LN[place, own] = _NO_PAIR
            decisions[word] += 1
            if first is not None and random is not None:
                chance = random.random(len(own)) < self._probability
                number, wanted = decisions[word], first[word]
                kept = (number < wanted) | ((number > wanted) & ~chance)
                own, word, place, rank = own[kept], word[kept], place[kept], rank[kept]
            right = after_LN[place, word]
            after, before = after_LN[right, word], before_LN[place, word]
            symbols_LN[place, word] = merged = self._token_of_rank[rank]
            symbols_LN[right, word] = _NO_SYMBOL
            after_LN[place, word], before_LN[after, word] = after, place
            pairs_LN[right, own] = _NO_PAIR
            pairs_LN[before, own] = self._pairs(symbols_LN[before, word], merged, before)
            pairs_LN[place, own] = self._pairs(merged, symbols_LN[after, word], place)

    def _pairs(self, left: Ids, right: Ids, place: Ids) -> Ids:
        """Adjacent symbols as pairs; `_NO_PAIR` for those that cannot merge."""
        keys = _key(left, right)
        found = np.searchsorted(self._keys, keys)
        pairs = (self._ranks[found] << _PLACE_BITS) + place
        return np.where(self._keys[found] == keys, pairs, _NO_PAIR)


def _key(left: Ids, right: Ids) -> Ids:
    """One number for two symbols; no two others have it."""
    return (left << 32) + right


def _widths(lengths: Ids) -> Ids:
    """Lengths rounded up, by less than a half from 8 on, so that few differ."""
    halves = np.log2(np.maximum(lengths, 8)).astype(np.int64) - 1
    step: Ids = np.left_shift(1, halves)
    return -(-lengths // step) * step
