"""Sampled segmentations of a unigram model (Kudo 2018, section 3): forward filtering, backward
sampling over the lattice of pieces.

A segmentation is drawn with its probability to the power alpha among all segmentations of the word.
The nodes of the lattice are the ends of pieces, and each has an edge for every piece that ends
there. Walking from the end of the word to its beginning, all words of a text take a step at once.
"""

import math
from collections.abc import Sequence

import numpy as np

from s2s.text.arrays import Growing
from s2s.text.piece_table import Ids, PieceTable, remembered

UNKNOWN_PENALTY = 10.0
"""An unknown character scores this much less than the worst piece, as in sentencepiece."""

_BITS = 32
"""Probabilities are whole numbers of so many bits: the edges of all nodes then form one sorted
array of exact numbers, and a draw does not depend on where in it a node is."""

MOST_EDGES = 1 << 22
"""Edges that are remembered for the words of earlier texts, 100 MB; then they are forgotten and
made again. What is drawn does not depend on it."""

_BEGIN = -1
"""The node before the first piece."""


class UnigramLattice:
    """Draws segmentations of a unigram model."""

    def __init__(self, pieces: PieceTable, alpha: float) -> None:
        self._pieces = pieces
        self._alpha = alpha
        self._unknown_score = min(pieces.scores.values(), default=0.0) - UNKNOWN_PENALTY
        self._forget()

    def _forget(self) -> None:
        self._words: dict[str, int] = {}
        self._num_nodes = 0
        # Of each edge: the node's number and its probability, cumulated; its piece; the node
        # before the piece. The edges of a node are adjacent, those of nodes in the nodes' order.
        self._keys, self._tokens, self._previous = Growing(), Growing(), Growing()

    def draw(self, words: Sequence[str], random: np.random.Generator) -> tuple[Ids, Ids]:
        """The pieces of all words, int64 [pieces], and their number for each, int64 [words]."""
        if len(self._keys) > MOST_EDGES:
            self._forget()
        return self._walk(remembered(self._words, words, self._add), random)

    def _walk(self, nodes: Ids, random: np.random.Generator) -> tuple[Ids, Ids]:
        """The pieces of words that end at `nodes`, and their number for each word."""
        keys, tokens, previous = self._keys.values, self._tokens.values, self._previous.values
        words, counts = np.arange(len(nodes)), np.zeros(len(nodes), dtype=np.int64)
        steps = []
        while len(words):
            chance = random.integers(0, 1 << _BITS, len(words), dtype=np.uint32)
            edges = np.searchsorted(keys, (nodes << _BITS) + chance, side="right")
            steps.append((words, tokens[edges]))
            counts[words] += 1
            nodes = previous[edges]
            goes_on = nodes != _BEGIN
            words, nodes = words[goes_on], nodes[goes_on]
        drawn, last = np.empty(int(counts.sum()), dtype=np.int64), np.cumsum(counts) - 1
        for back, (words, found) in enumerate(steps):
            drawn[last[words] - back] = found
        return drawn, counts

    def _add(self, word: str) -> int:
        """Add the lattice of a word; its last node."""
        keys: list[int] = []
        tokens: list[int] = []
        previous: list[int] = []

        def add_node(edges: list[tuple[int, int, float]]) -> int:
            """Add a node with edges (piece, node before it, probability)."""
            node, total = self._num_nodes, 0.0
            for token, before, probability in edges:
                total += probability
                keys.append((node << _BITS) + int(total * (1 << _BITS)))
                tokens.append(token)
                previous.append(before)
            keys[-1] = (node + 1) << _BITS
            self._num_nodes += 1
            return node

        nodes, totals = [_BEGIN], [0.0]  # of each place in the word; logarithms
        for end in range(1, len(word) + 1):
            arriving: list[tuple[int, int, float]] = []
            for begin in range(max(0, end - self._pieces.longest), end):
                score = self._pieces.scores.get(piece := word[begin:end])
                if score is not None:
                    weight = totals[begin] + self._alpha * score
                    arriving.append((self._pieces.ids[piece], nodes[begin], weight))
            if word[end - 1] not in self._pieces.ids:
                *first, last = self._pieces.unknown(word[end - 1])
                before = nodes[end - 1]
                for token in first:  # bytes, one after the other
                    before = add_node([(token, before, 1.0)])
                weight = totals[end - 1] + self._alpha * self._unknown_score
                arriving.append((last, before, weight))
            most = max(weight for _, _, weight in arriving)
            chances = [math.exp(weight - most) for _, _, weight in arriving]
            total = math.fsum(chances)
            totals.append(most + math.log(total))
            nodes.append(
                add_node(
                    [
                        (token, before, chance / total)
                        for (token, before, _), chance in zip(arriving, chances, strict=True)
                    ]
                )
            )
        self._keys.extend(keys)
        self._tokens.extend(tokens)
        self._previous.extend(previous)
        return nodes[-1]
