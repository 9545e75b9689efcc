"""Characters that a tokenizer's normalization changes: no output can have them."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from string import printable

from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import untagged
from s2s.text.tokenizer import Tokenizer

KEPT = 5
"""Characters that a report names."""

_VISIBLE = "".join(character for character in printable if character.isprintable())


class LostCharacters:
    """Counts the texts that lose characters between file and token, and the characters.

    Neither spaces that only repeat nor, where the tokenizer folds case, capital letters count.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._has_features = isinstance(untagged(tokenizer), SourceFeatureTokenizer)
        self._normalize = tokenizer.normalize
        self._folds_case = tokenizer.normalize("A") == "a"
        self._keeps_ascii = not self._lost(_VISIBLE)
        self.num_texts = 0
        self.characters: Counter[str] = Counter()
        """The number of texts that lose each character."""

    def add(self, lines: Sequence[str]) -> None:
        """Count these lines; source features are no text."""
        for line in lines:
            if self._keeps_ascii and line.isascii() and line.isprintable():
                continue
            text = line.rpartition(SEPARATOR)[0] if self._has_features else line
            if found := self._lost(text):
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


def _is_composed(character: str) -> bool:
    """Whether a character becomes a part of the one before it: marks, Hangul vowels and finals."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"


def kept_by_nfkc(character: str) -> bool:
    """Whether NFKC alone keeps a character that the rules for translation change: joiners and other
    format characters."""
    is_format = unicodedata.category(character) == "Cf"
    return is_format and unicodedata.normalize("NFKC", character) == character
