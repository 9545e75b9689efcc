"""Characters that a tokenizer's normalization changes: no output can have them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import untagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import NUM_CODE_POINTS

KEPT = 5
"""Characters that a report names."""

_SPACES = re.compile(r"^ |  ", re.MULTILINE)


class LostCharacters:
    """Counts the texts that lose characters between file and token, and the characters.

    Neither spaces that only repeat nor, where the tokenizer folds case, capital letters count.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._has_features = isinstance(untagged(tokenizer), SourceFeatureTokenizer)
        self._normalize = tokenizer.normalize
        self._folds_case = tokenizer.normalize("A") == "a"
        self._known: set[str] = set()
        """Characters that were tried, alone between letters."""
        self._suspect: set[str] = set()
        """Those of them that were lost."""
        self._joins_spaces = tokenizer.normalize("a  a") != "a  a"
        self.num_texts = 0
        self.characters: Counter[str] = Counter()
        """The number of texts that lose each character."""
        self.num_spaced = 0
        """Texts with a space at the beginning or several in a row, of which one or none is left."""

    def add(self, lines: Sequence[str]) -> None:
        """Count these lines; source features are no text."""
        if self._has_features:
            lines = [line.rpartition(SEPARATOR)[0] for line in lines]
        together = "\n".join(lines)
        if self._joins_spaces and _SPACES.search(together):
            self.num_spaced += sum(bool(_SPACES.search(line.rstrip())) for line in lines)
        characters = _characters(together)
        for character in characters - self._known:
            self._known.add(character)
            if character != "\n" and self._lost(f"a{character}a"):
                self._suspect.add(character)
        # Normalizing every line would double the time of encoding. Besides single characters, it
        # changes only texts with marks or letters that become composed.
        is_composed = together.isascii() or unicodedata.is_normalized("NFC", together)
        if is_composed and self._suspect.isdisjoint(characters):
            return
        for line in lines:
            if self._suspect.isdisjoint(line) and unicodedata.is_normalized("NFC", line):
                continue
            if found := self._lost(line):
                self.num_texts += 1
                self.characters.update(found)

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
        letters = {c for c in unicodedata.normalize("NFD", normalized) if not _is_composed(c)}
        return lost - letters


def _characters(text: str) -> set[str]:
    """The different characters of a text; `set` would make an object of each."""
    is_there = np.zeros(NUM_CODE_POINTS, dtype=np.bool_)
    is_there[np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)] = True
    return set(map(chr, np.flatnonzero(is_there).tolist()))


def _is_composed(character: str) -> bool:
    """Whether a character becomes a part of the one before it: marks, Hangul vowels and finals."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"


def kept_by_nfkc(character: str) -> bool:
    """Whether NFKC alone keeps a character that the rules for translation change: joiners and other
    format characters."""
    is_format = unicodedata.category(character) == "Cf"
    return is_format and unicodedata.normalize("NFKC", character) == character
