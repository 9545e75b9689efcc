"""Adds tokens to trained tokenizers: those that new text has and the vocabulary lacks.

Ids stay, and new ones follow. Words and characters are added that were unknown. Subwords get pieces
for unknown characters, then pieces that join two adjacent ones, most frequent pair first, as BPE
does (Sennrich et al. 2016, section 3.2), on the old segmentation of the new text:

    BPE       new merges come after all old ones, so only what they would have left is joined
    unigram   a new piece is barely more probable than the two pieces that it joins, and not less
              probable than the least probable old piece, by which unknown characters are scored

So a text has its old tokens unless a new piece occurs in it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from s2s.special import SPECIAL_PIECES
from s2s.text.piece_table import split_pieces
from s2s.text.sentencepiece_model import BPE, NORMAL, Piece, pieces_of, with_pieces
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.subword import Subwords
from s2s.text.tags import Tagged
from s2s.text.tokenizer import Tokenizer, TokenizerTrainer
from s2s.text.vocabulary import Characters, Words

LONGEST_PIECE = 16
"""Characters of a piece, as sentencepiece limits them."""

MARGIN = 0.1
"""Log-probability by which a new piece of a unigram model exceeds the two that it joins."""


def extender(tokenizer: Tokenizer, most: int, min_count: int) -> TokenizerTrainer:
    """A trainer that adds to a tokenizer at most so many tokens, each of which occurs so often."""
    match tokenizer:
        case Tagged():
            return _OfTagged(tokenizer, extender(tokenizer.base, most, min_count))
        case SourceFeatureTokenizer():
            parts = (tokenizer.base, tokenizer.features)
            base, features = (extender(one, most, min_count) for one in parts)
            return _OfFeatures(base, features, tokenizer.is_before)
        case Words() | Characters():
            return _OfWhole(tokenizer, most, min_count)
        case Subwords():
            return _OfSubwords(tokenizer, most, min_count)
    raise AssertionError("a kind of tokenizer without extension")


class _OfTagged:
    """Extends the tokenizer of the text after the tags."""

    def __init__(self, tokenizer: Tagged, base: TokenizerTrainer) -> None:
        self.tokenizer = tokenizer
        self.base = base

    def add(self, lines: Sequence[str]) -> None:
        """Read more text."""
        self.base.add(self.tokenizer.split(lines)[1])

    def train(self) -> Tokenizer:
        """The extended tokenizer, with the same tags."""
        return Tagged(self.base.train(), self.tokenizer.tags)


class _OfFeatures:
    """Extends the tokenizers of sources and of their features."""

    def __init__(self, base: TokenizerTrainer, features: TokenizerTrainer, is_before: bool) -> None:
        self.base = base
        self.features = features
        self.is_before = is_before

    def add(self, lines: Sequence[str]) -> None:
        """Read more text."""
        split = [line.rpartition(SEPARATOR) for line in lines]
        self.base.add([text if separator else rest for text, separator, rest in split])
        self.features.add([rest for _, separator, rest in split if separator])

    def train(self) -> Tokenizer:
        """The extended tokenizer."""
        return SourceFeatureTokenizer(
            self.base.train(), self.features.train(), is_before=self.is_before
        )


class _OfWhole:
    """Counts unknown words or characters."""

    def __init__(self, tokenizer: Words | Characters, most: int, min_count: int) -> None:
        self.tokenizer = tokenizer
        self.most = most
        self.min_count = min_count
        self.counts: Counter[str] = Counter()

    def add(self, lines: Sequence[str]) -> None:
        """Count the unknown tokens of these lines."""
        for row in self.tokenizer.unknown(lines):
            self.counts.update(row)

    def train(self) -> Tokenizer:
        """The tokenizer with the most frequent of them."""
        return self.tokenizer.extended(_most_frequent(self.counts, self.most, self.min_count))


class _OfSubwords:
    """Counts normalized words; joins pieces of their segmentations."""

    def __init__(self, tokenizer: Subwords, most: int, min_count: int) -> None:
        self.tokenizer = tokenizer
        self.most = most
        self.min_count = min_count
        self.counts: Counter[str] = Counter()

    def add(self, lines: Sequence[str]) -> None:
        """Count the words of these lines."""
        for line in self.tokenizer.normalized(lines):
            self.counts.update(split_pieces(line))

    def train(self) -> Tokenizer:
        """The model with more pieces; itself if there are none to add."""
        pieces = pieces_of(self.tokenizer.model)
        characters = self._characters({piece.text for piece in pieces})
        with_characters = self._with(pieces, [((), text) for text in characters])
        words = list(self.counts)
        ids = with_characters.segment(words)
        normal = [piece.type == NORMAL for piece in pieces_of(with_characters.model)]
        spellings = with_characters.spellings()
        joined = _Joining(
            # An unknown character, a byte or a symbol of the user is never a part of a new piece.
            [[spellings[one] if normal[one] else "" for one in row] for row in ids],
            [self.counts[word] for word in words],
            known={piece.text for piece in pieces} | set(characters),
        ).join(self.most - len(characters), self.min_count)
        return self._with(pieces, [*(((), text) for text in characters), *joined])

    def _characters(self, known: set[str]) -> list[str]:
        """Characters without a piece."""
        counts: Counter[str] = Counter()
        for word, count in self.counts.items():
            for character in word:
                if character not in known:
                    counts[character] += count
        return _most_frequent(counts, self.most, self.min_count)

    def _with(self, pieces: list[Piece], added: Sequence[tuple[tuple[str, ...], str]]) -> Subwords:
        """The model with more pieces, each with the pieces that it joins."""
        if not added:
            return self.tokenizer
        scores = {piece.text: piece.score for piece in pieces if piece.type == NORMAL}
        least, highest = min(scores.values()), max(scores.values())
        is_bpe = self.tokenizer.model.trainer_spec.model_type == BPE
        for place, (parts, text) in enumerate(added, start=1):
            if is_bpe:
                scores[text] = least - place
            else:
                own = sum(scores[part] for part in parts) + MARGIN if parts else least
                # As the file has it: a piece must not be less probable than the old ones.
                scores[text] = float(np.float32(min(max(own, least), highest)))
        more = [Piece(text, scores[text]) for _, text in added]
        return Subwords(with_pieces(self.tokenizer.model, [*pieces, *more]))


class _Joining:
    """Joins pairs of adjacent symbols in counted words, most frequent pair first."""

    def __init__(self, rows: list[list[str]], counts: list[int], known: set[str]) -> None:
        """An empty symbol is never joined, and no join makes a `known` one."""
        self.rows = rows
        self.counts = counts
        self.known = known
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.places: dict[tuple[str, str], set[int]] = defaultdict(set)
        for row in range(len(rows)):
            self._count(row, 1)

    def join(self, most: int, min_count: int) -> list[tuple[tuple[str, ...], str]]:
        """At most so many joins of pairs that occur so often: the pairs and what they become."""
        found: list[tuple[tuple[str, ...], str]] = []
        while len(found) < most and self.pairs:
            pair, count = min(self.pairs.items(), key=lambda item: (-item[1], item[0]))
            if count < min_count:
                break
            text = pair[0] + pair[1]
            self.known.add(text)
            found.append((pair, text))
            for row in sorted(self.places[pair]):
                self._count(row, -1)
                self.rows[row] = _joined(self.rows[row], pair)
                self._count(row, 1)
        return found

    def _count(self, row: int, sign: int) -> None:
        """Add the pairs of a word, or take them away."""
        symbols = self.rows[row]
        for pair in pairwise(symbols):
            text = pair[0] + pair[1]
            if not all(pair) or len(text) > LONGEST_PIECE or text in self.known:
                self.pairs.pop(pair, None)
                continue
            self.pairs[pair] += sign * self.counts[row]
            if sign > 0:
                self.places[pair].add(row)
            if self.pairs[pair] <= 0:
                del self.pairs[pair]


def _joined(symbols: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The symbols, the pair as one, from the left."""
    result: list[str] = []
    place = 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            result.append(pair[0] + pair[1])
            place += 2
        else:
            result.append(symbols[place])
            place += 1
    return result


def _most_frequent(counts: Counter[str], most: int, min_count: int) -> list[str]:
    """The most frequent tokens, the most frequent first; special pieces are none."""
    kept: Iterable[str] = (token for token, count in counts.items() if count >= min_count and token)
    ranked = sorted(kept, key=lambda token: (-counts[token], token))
    return [token for token in ranked if token not in SPECIAL_PIECES][:most]
