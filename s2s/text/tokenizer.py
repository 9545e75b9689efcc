"""What every tokenizer does, and the pair of them that a run has.

In a folder, one tokenizer is either `sentencepiece.model` (subwords) or `vocabulary.json`
(characters, words), with `features/` beside it where a source has features; a pair is
`tokenizers.json` beside `shared/`, or `source/` and `target/`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
    """Text to ids and back. Ids 0 to 3 are the special ones of `s2s.special`."""

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""

    def normalize(self, line: str) -> str:
        """What decoding an encoded line gives back where no character is unknown."""

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, without begin and end of sentence; on all cores."""

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence, as one line; special ids are dropped, an unknown token shows
        as `⁇`."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token as a reader of an alignment wants to see it; a space shows as `▁`."""

    def surfaces(self) -> list[str | bytes]:
        """What each id adds to decoded text, spaces included (a space at the very beginning of a
        text is dropped); bytes where it is a byte of UTF-8."""

    def spellings(self) -> Sequence[str]:
        """What each id writes within a text, by id; nothing for the special ones but UNK."""

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """What each UNK of `encode(lines)` stands for, in the text's own letters."""

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of sequences of spellings, known ones or not, as `decode` puts it together."""

    def save(self, folder: Path) -> None:
        """Write the tokenizer into `folder`, which is made if need be."""


class Trainer(Protocol):
    """Sees the training text once, in pieces, and makes a tokenizer of it in bounded memory."""

    def add(self, lines: Sequence[str]) -> None:
        """Look at more text."""

    def train(self) -> Tokenizer:
        """The tokenizer. Raises DataError where the text cannot fill what the recipe asks for."""
