"""Symbols of tokenizers: texts that are one token wherever they stand, never normalized."""

import re
from collections.abc import Callable, Iterable, Sequence


class Symbols:
    """The symbols of a tokenizer of words or characters; those of subwords are sentencepiece's."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """`texts` are not empty. Where one begins another, the longer one counts."""
        self.texts = tuple(texts)
        self._known = frozenset(texts)
        longest_first = sorted(self.texts, key=len, reverse=True)
        # A pattern without alternatives would match everywhere.
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbols) and self.texts == other.texts

    def __hash__(self) -> int:
        return hash(self.texts)

    def __contains__(self, text: str) -> bool:
        return text in self._known

    def are_in(self, text: str) -> bool:
        """Whether a text has some."""
        return bool(self.texts) and self._pattern.search(text) is not None

    def split(self, text: str) -> list[str]:
        """The symbols of a text and what stands between them, in their order; nothing empty."""
        if not self.are_in(text):
            return [text] if text else []
        parts: list[str] = []
        end = 0
        for found in self._pattern.finditer(text):
            parts += [text[end : found.start()], found[0]]
            end = found.end()
        return [part for part in (*parts, text[end:]) if part]

    def split_each(self, words: Iterable[str]) -> list[str]:
        """The parts of all words."""
        return [part for word in words for part in self.split(word)]

    def texts_between(self, text: str) -> list[str]:
        """What stands between the symbols of a text; nothing empty."""
        return [part for part in self.split(text) if part not in self]

    def between(self, text: str, change: Callable[[str], str]) -> str:
        """The text with what stands between symbols changed."""
        if not self.are_in(text):
            return change(text)
        return "".join(part if part in self else change(part) for part in self.split(text))
