"""Characters that a tokenizer's normalization changes: no output can have them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.text.arrays import code_points
from s2s.text.byte_lines import LINE_FEED, SPACE, ByteLines
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import untagged
from s2s.text.tokenizer import Tokenizer

KEPT = 5
"""Characters that a report names."""

_SPACES = re.compile(r"^ |  ")

_NUM_ASCII = 128


class Lost(NamedTuple):
    """What some texts lose."""

    num_texts: int
    characters: Counter[str]
    num_spaced: int


class LostCharacters:
    """Counts the texts that lose characters between file and token, and the characters.

    Neither spaces that only repeat nor, where the tokenizer folds case, capital letters count.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._has_features = isinstance(untagged(tokenizer), SourceFeatureTokenizer)
        self._normalize = tokenizer.normalize
        self._folds_case = tokenizer.normalize("A") == "a"
        self._known: dict[str, bool] = {}
        """Characters that were tried, and whether a text with them has to be looked at."""
        self._lost_alone: set[str] = set()
        """Those that were lost alone between letters."""
        suspects = [code for code in range(_NUM_ASCII) if self._is_suspect(chr(code))]
        self._control = [code for code in suspects if code < SPACE and code != LINE_FEED]
        self._printable = [code for code in suspects if code >= SPACE]
        self._joins_spaces = tokenizer.normalize("a  a") != "a  a"
        self.num_texts = 0
        self.characters: Counter[str] = Counter()
        """The number of texts that lose each character."""
        self.num_spaced = 0
        """Texts with a space at the beginning or several in a row, of which one or none is left."""

    def add(self, lines: Sequence[str]) -> None:
        """Count these lines; source features are no text."""
        self.merge(self.look(lines))

    def merge(self, found: Lost) -> None:
        """Count what was found in lines."""
        self.num_texts += found.num_texts
        self.characters.update(found.characters)
        self.num_spaced += found.num_spaced

    def look(self, lines: Sequence[str]) -> Lost:
        """What lines lose; source features are no text."""
        if self._has_features:
            lines = [line.rpartition(SEPARATOR)[0] for line in lines]
        texts = ByteLines.of(lines)
        num_texts, characters = 0, Counter[str]()
        # Normalizing every line would double the time of encoding. Besides single characters, it
        # changes only texts with marks or letters that become composed.
        for line in texts.take(texts.rows_of(self._suspects(texts))):
            if self._lost_alone.isdisjoint(line) and unicodedata.is_normalized("NFC", line):
                continue
            if found := self._lost(line):
                num_texts += 1
                characters.update(found)
        num_spaced = self._num_spaced(texts) if self._joins_spaces else 0
        return Lost(num_texts, characters, num_spaced)

    def _num_spaced(self, texts: ByteLines) -> int:
        raw = texts.raw
        if b"  " not in raw and b"\n " not in raw and not raw.startswith(b" "):
            return 0
        is_space = texts.bytes == SPACE
        places = np.flatnonzero(is_space[1:] & is_space[:-1])
        leading = texts.starts[is_space[texts.starts]]
        rows = texts.rows_of(np.sort(np.concatenate([places, leading])))
        return sum(bool(_SPACES.search(line.rstrip())) for line in texts.take(rows))

    def _suspects(self, texts: ByteLines) -> NDArray[np.int64]:
        """int64 [characters]: the places of characters that may be lost, which ascend."""
        raw, content = texts.raw, texts.bytes
        wanted = [code for code in self._printable if bytes([code]) in raw]
        if np.count_nonzero(content < SPACE) > len(texts):
            wanted += [code for code in self._control if bytes([code]) in raw]
        places = [np.flatnonzero(content == code) for code in wanted]
        if not raw.isascii():
            beyond = np.flatnonzero(content >= _NUM_ASCII)
            firsts = beyond[content[beyond] & 0xC0 != 0x80]  # the others continue a character
            codes = code_points(content[beyond].tobytes().decode())
            is_there = np.zeros(int(codes.max()) + 1, dtype=np.bool_)
            is_there[codes] = True
            different = np.flatnonzero(is_there).tolist()
            is_there[different] = [self._is_suspect(chr(code)) for code in different]
            places.append(firsts[is_there[codes]])
        return np.sort(np.concatenate(places)) if places else np.empty(0, dtype=np.int64)

    def _is_suspect(self, character: str) -> bool:
        if character not in self._known:
            if self._lost(f"a{character}a"):
                self._lost_alone.add(character)
            is_suspect = character in self._lost_alone or may_compose(character)
            self._known[character] = is_suspect
        return self._known[character]

    def most_common(self) -> tuple[tuple[str, int], ...]:
        """The first characters, those of most texts first, with the number of texts."""
        ordered = sorted(self.characters.items(), key=lambda item: (-item[1], item[0]))
        return tuple(ordered[:KEPT])

    def _lost(self, text: str) -> set[str]:
        normalized = self._normalize(text)
        lost = set(text).difference(normalized, " ")
        if not lost:
            return lost
        if self._folds_case:
            lost = {character for character in lost if character.lower() == character}
        # The letters of composed ones are not lost, but their marks are never written as such.
        parts = set(unicodedata.normalize("NFD", normalized))
        return {
            character for character in lost if character not in parts or _is_composed(character)
        }


def may_compose(character: str) -> bool:
    """Whether Unicode's NFC may change a text for a character in it: it is composed with those
    before it, ordered among them, or written otherwise.

    Beyond the first 2^16 code points, letters are composed too.
    """
    is_letter = character > "\uffff" and unicodedata.category(character).startswith("L")
    return _is_composed(character) or is_letter or not unicodedata.is_normalized("NFC", character)


def _is_composed(character: str) -> bool:
    """Whether a character becomes a part of the one before it: marks, Hangul vowels and finals."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"


def kept_by_nfkc(character: str) -> bool:
    """Whether NFKC alone keeps a character that the rules for translation change: joiners and other
    format characters."""
    is_format = unicodedata.category(character) == "Cf"
    return is_format and unicodedata.normalize("NFKC", character) == character
