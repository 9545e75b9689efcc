"""Words, each followed by its characters: what a tagger reads of words it does not know."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from s2s.text.vocabulary import Characters, CharacterTrainer, Words, WordTrainer, save_words


class SpelledWords:
    """A tokenizer of words and of their characters, whose ids follow those of the words."""

    def __init__(self, words: Words, characters: Characters) -> None:
        self.words = words
        self.characters = characters

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SpelledWords)
            and self.words == other.words
            and self.characters == other.characters
        )

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return self.words.size + self.characters.size

    @property
    def num_words(self) -> int:
        """Number of ids of words, which come first."""
        return self.words.size

    def normalize(self, line: str) -> str:
        """The line with single separators."""
        return self.words.normalize(line)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line: of a word, of its characters, of the next word and so on."""
        first = self.words.size
        written = [self.words.written(line) for line in lines]
        spelled = iter(self.characters.encode(list(chain.from_iterable(written))))
        return [
            [
                token
                for word in row
                for token in (word, *(first + character for character in next(spelled)))
            ]
            for row in self.words.encode(lines)
        ]

    def written(self, line: str) -> list[str]:
        """The words of `line`."""
        return self.words.written(line)

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence, from its words."""
        return self.words.decode([[t for t in row if t < self.words.size] for row in ids])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each word, and each character after a `+`."""
        first = self.words.size
        return [
            self.words.pieces([token])[0]
            if token < first
            else f"+{self.characters.pieces([token - first])[0]}"
            for token in ids
        ]

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded: characters add none."""
        return [*self.words.surfaces(), *([""] * self.characters.size)]

    @property
    def between(self) -> str:
        """The text between two words."""
        return self.words.between

    def spellings(self) -> Sequence[str]:
        """The words, by id; nothing for characters."""
        return [*self.words.spellings(), *([""] * self.characters.size)]

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown words of each line."""
        return self.words.unknown(lines)

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of words, joined by the separator."""
        return self.words.spell(spellings)

    def save(self, folder: Path) -> None:
        """Write words and characters into `folder`, which is made if missing."""
        save_words(folder, self.words, self.characters)


class SpelledWordTrainer:
    """Counts words and their characters."""

    def __init__(self, words: WordTrainer, characters: CharacterTrainer) -> None:
        self._words = words
        self._characters = characters

    def add(self, lines: Sequence[str]) -> None:
        """Count the words and characters of these lines."""
        self._words.add(lines)
        self._characters.add(["".join(self._words.split(line)) for line in lines])

    def train(self) -> SpelledWords:
        """Both vocabularies. Raises DataError if one would be empty."""
        return SpelledWords(self._words.train(), self._characters.train())
