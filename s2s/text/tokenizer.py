"""The protocols of tokenizers and of their trainers.

In a folder, a tokenizer is either `sentencepiece.model` (subwords) or `vocabulary.json`
(characters, words), with `features/` beside it if sources have features. A pair of tokenizers is
`tokenizers.json` beside `shared/`, or beside `source/` and `target/`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
    """Converts text to ids and back. Ids 0 to 3 are the special ones of `s2s.special`."""

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""

    def normalize(self, line: str) -> str:
        """The line as encoding and decoding return it if no character is unknown."""

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, without begin and end of sentence; on all cores."""

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence, as one line; special ids are dropped, an unknown token becomes
        `⁇`."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The label of each token; a space is `▁`."""

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded, spaces included (a space at the beginning
        of a text is dropped); bytes for a byte of UTF-8."""

    def spellings(self) -> Sequence[str]:
        """The spelling of each id within a text; empty for special ids except UNK."""

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The text of each UNK in `encode(lines)`."""

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of sequences of spellings, known or not, joined as in `decode`."""

    def save(self, folder: Path) -> None:
        """Write the tokenizer into `folder`, which is made if missing."""


class TokenizerTrainer(Protocol):
    """Reads the training text once, in chunks, and makes a tokenizer in bounded memory."""

    def add(self, lines: Sequence[str]) -> None:
        """Read more text."""

    def train(self) -> Tokenizer:
        """The tokenizer. Raises DataError if the text has too little for the recipe."""
