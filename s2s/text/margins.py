"""How clearly a unigram model prefers its segmentation of a word.

sentencepiece adds the scores of pieces in float32 from the beginning of a line. Each sum is rounded
to the size that it has there, so of two segmentations with almost equal scores either may win, by
the text before the word. Where one is better by more than such sums can be wrong, it wins in every
line.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from s2s.text.arrays import code_points
from s2s.text.byte_lines import mix
from s2s.text.hash_table import UNKNOWN, HashTable
from s2s.text.piece_table import PieceTable
from s2s.text.unigram_lattice import UNKNOWN_PENALTY

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Codes = NDArray[np.uint64]


class Margins:
    """Compares the segmentations of words.

    The nodes of a word are the places between its characters, its beginning and its end; the edges
    are pieces, and characters that are none.
    """

    def __init__(self, pieces: PieceTable) -> None:
        self._longest = pieces.longest
        self._unknown_score = min(pieces.scores.values()) - UNKNOWN_PENALTY
        codes, lengths = _code_points(list(pieces.scores))
        rows, starts = np.arange(len(lengths)), np.cumsum(lengths) - lengths
        hashes = np.zeros(len(lengths), dtype=np.uint64)
        prefixes, wholes = [], np.zeros_like(hashes)
        for length in range(1, self._longest + 1):
            is_long = lengths[rows] >= length
            rows, hashes = rows[is_long], hashes[is_long]
            hashes = _next(hashes, codes[starts[rows] + length - 1])
            prefixes.append(hashes)
            wholes[rows] = hashes  # in the end that of the whole piece
        self._prefixes = HashTable()
        self._prefixes.add(np.unique(np.concatenate(prefixes)))
        self._scores = np.full(len(self._prefixes), -np.inf)
        """float64 [prefixes of pieces]: the scores of those that are pieces."""
        self._scores[self._prefixes.find(wholes)] = list(pieces.scores.values())

    def of(self, words: Sequence[str]) -> Floats:
        """float64 [words]: the score of the best segmentation less that of the second best;
        infinite for a word with only one."""
        codes, lengths = _code_points(words)
        word = np.repeat(np.arange(len(words)), lengths)
        offsets = np.arange(len(codes)) - (np.cumsum(lengths) - lengths)[word]
        characters, sizes, scores = self._edges(codes, lengths[word] - offsets)
        begins = characters + word[characters]  # a word has one node more than characters
        # Numbers of 16 bits are sorted by their digits.
        order = np.argsort(offsets[characters].astype(np.uint16), kind="stable")
        begins, ends, scores = begins[order], (begins + sizes)[order], scores[order]
        bounds = np.searchsorted(offsets[characters][order], np.arange(lengths.max(initial=0) + 1))
        lasts = np.cumsum(lengths + 1) - 1
        best = np.full(len(codes) + len(words), -np.inf)
        best[lasts - lengths] = 0.0
        second, before = np.full_like(best, -np.inf), np.full(len(best), UNKNOWN)
        for first, last in pairwise(bounds.tolist()):
            # Edges that begin at the same offset of their words have different ends.
            begin, end = begins[first:last], ends[first:last]
            total, known = best[begin] + scores[first:last], best[end]
            second[end] = np.maximum(second[end], np.minimum(total, known))
            before[end] = np.where(total > known, begin, before[end])
            best[end] = np.maximum(total, known)
        return _least(best - second, before, lasts)

    def _edges(self, codes: Codes, left: Places) -> tuple[Places, Places, Floats]:
        """The first character of each edge, its number of characters and its score; `left` is the
        number of characters from each one to the end of its word."""
        places, hashes = np.arange(len(codes)), np.zeros(len(codes), dtype=np.uint64)
        is_piece = np.zeros(len(codes), dtype=np.bool_)
        begins, sizes, scores = [], [], []
        for length in range(1, self._longest + 1):
            is_long = left[places] >= length
            places = places[is_long]
            hashes = _next(hashes[is_long], codes[places + length - 1])
            numbers = self._prefixes.find(hashes)
            is_known = numbers != UNKNOWN
            places, hashes = places[is_known], hashes[is_known]
            found = self._scores[numbers[is_known]]
            ended = found > -np.inf
            begins.append(places[ended])
            sizes.append(np.full(len(begins[-1]), length))
            scores.append(found[ended])
            if length == 1:
                is_piece[begins[-1]] = True
        unknown = np.flatnonzero(~is_piece)
        begins.append(unknown)
        sizes.append(np.ones_like(unknown))
        scores.append(np.full(len(unknown), self._unknown_score))
        return np.concatenate(begins), np.concatenate(sizes), np.concatenate(scores)


def _least(differences: Floats, before: Places, nodes: Places) -> Floats:
    """float64 [nodes]: the least difference on the best way to each node."""
    least = np.full(len(nodes), np.inf)
    rows = np.arange(len(nodes))
    while len(rows := rows[before[nodes[rows]] != UNKNOWN]):
        least[rows] = np.minimum(least[rows], differences[nodes[rows]])
        nodes[rows] = before[nodes[rows]]
    return least


def _next(hashes: NDArray[np.uint64], codes: Codes) -> NDArray[np.uint64]:
    """The hashes of texts with one more character."""
    return mix(hashes + codes + np.uint64(1))


def _code_points(texts: Sequence[str]) -> tuple[Codes, Places]:
    """uint64 [characters] of all texts, and their lengths, int64 [texts]."""
    codes = code_points("".join(texts)).astype(np.uint64)
    return codes, np.fromiter(map(len, texts), np.int64, len(texts))
