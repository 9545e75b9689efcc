"""Vocabularies of characters and of words, which are counted and kept as JSON."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s2s.errors import DataError, RunError
from s2s.files import atomic_write, read_json
from s2s.recipe.tokenizer import CharacterTokenizer, WordTokenizer
from s2s.spaces import split_words
from s2s.special import SPECIAL_PIECES, UNK

VOCABULARY_FILE = "vocabulary.json"
FORMAT = 1

MOST_BYTES = 1 << 28
"""The most bytes of its file."""

UNKNOWN_TEXT = "⁇"
"""An unknown token in decoded text, as in sentencepiece."""

NUM_CODE_POINTS = 0x110000

SPACE = " "

LINE = "\n"
"""The separator of labels: a line is one, its white space single spaces."""


class Characters:
    """A tokenizer whose tokens are characters, the space included. Decoding restores the text, in
    Unicode's NFC if `decompose`."""

    def __init__(self, characters: Sequence[str], *, decompose: bool = False) -> None:
        """`characters` are in the order of their ids, which follow the special ones; with
        `decompose`, they are those of text in Unicode's NFD."""
        self._characters = list(characters)
        self._decompose = decompose
        self._text = ["", UNKNOWN_TEXT, "", "", *characters]
        # One array lookup for all characters of a batch; a dict would take a Python step for each.
        self._id_of_code = np.full(NUM_CODE_POINTS, UNK, dtype=np.int32)
        codes = _code_points("".join(characters))
        self._id_of_code[codes] = np.arange(len(codes)) + len(SPECIAL_PIECES)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Characters)
            and self._characters == other._characters
            and self._decompose == other._decompose
        )

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return len(self._text)

    def normalize(self, line: str) -> str:
        """The line itself, in NFC if characters are decomposed."""
        return unicodedata.normalize("NFC", line) if self._decompose else line

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, one per character."""
        if self._decompose:
            lines = [unicodedata.normalize("NFD", line) for line in lines]
        ids: list[int] = self._id_of_code[_code_points("".join(lines))].tolist()
        encoded, start = [], 0
        for line in lines:
            encoded.append(ids[start : start + len(line)])
            start += len(line)
        return encoded

    def extends(self, other: "Characters") -> bool:
        """Whether these are the other characters, or those and more after them."""
        first = self._characters[: len(other._characters)]
        return first == other._characters and self._decompose == other._decompose

    def extended(self, more: Sequence[str]) -> "Characters":
        """These characters and more after them."""
        return Characters([*self._characters, *more], decompose=self._decompose)

    def written(self, line: str) -> list[str]:
        """The character of `line` that each of its tokens comes from."""
        if not self._decompose:
            return list(line)
        return [char for char in line for _ in unicodedata.normalize("NFD", char)]

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence."""
        return [self.normalize("".join([self._text[token] for token in row])) for row in ids]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each character; a space is `▁`."""
        shown = [*SPECIAL_PIECES, *self._characters]
        return [shown[token].replace(" ", "▁") for token in ids]

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded, before NFC."""
        return list(self._text)

    @property
    def between(self) -> str:
        """The text between two tokens."""
        return ""

    def spellings(self) -> Sequence[str]:
        """The characters, by id."""
        return self._text

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown characters of each line."""
        if self._decompose:
            lines = [unicodedata.normalize("NFD", line) for line in lines]
        return [[c for c in line if self._id_of_code[ord(c)] == UNK] for line in lines]

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of concatenated spellings."""
        return [self.normalize("".join(row)) for row in spellings]

    def save(self, folder: Path) -> None:
        """Write the characters into `folder`, which is made if missing."""
        option = {"decompose": True} if self._decompose else {}
        _save(folder, {"kind": "character", **option, "tokens": self._characters})


class Words:
    """A tokenizer whose tokens are words between separators, by default white space.

    Where U+0020 is a separator, all white space is (`s2s.spaces.split_words`). A vocabulary
    with other white space in its words was made when U+0020 stood for itself alone, and is used so.
    """

    def __init__(self, words: Sequence[str], separators: str = SPACE) -> None:
        """`words` are in the order of their ids, which follow the special ones."""
        self._words = list(words)
        self._separators = separators
        has_space_inside = separators != LINE and any(split_words(word) != [word] for word in words)
        self._split = _split_exactly if has_space_inside else _split
        self._text = ["", UNKNOWN_TEXT, "", "", *words]
        self._id_of_word = {word: id_ for id_, word in enumerate(words, start=len(SPECIAL_PIECES))}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Words)
            and self._words == other._words
            and self._separators == other._separators
        )

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return len(self._text)

    def normalize(self, line: str) -> str:
        """The line with single separators, all of them the first of `separators`."""
        return self._separators[0].join(self._split(line, self._separators))

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, one per word."""
        id_of = self._id_of_word.get
        return [
            [id_of(word, UNK) for word in self._split(line, self._separators)] for line in lines
        ]

    def extends(self, other: "Words") -> bool:
        """Whether these are the other words, or those and more after them."""
        first = self._words[: len(other._words)]
        return first == other._words and self._separators == other._separators

    def extended(self, more: Sequence[str]) -> "Words":
        """These words and more after them."""
        return Words([*self._words, *more], self._separators)

    def written(self, line: str) -> list[str]:
        """The word of `line` of each of its tokens."""
        return self._split(line, self._separators)

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence."""
        between = self._separators[0]
        return [between.join([t for token in row if (t := self._text[token])]) for row in ids]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each word."""
        shown = [*SPECIAL_PIECES, *self._words]
        return [shown[token] for token in ids]

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded, with the separator before it."""
        return [self._separators[0] + text if text else "" for text in self._text]

    @property
    def between(self) -> str:
        """The text between two tokens."""
        return self._separators[0]

    def spellings(self) -> Sequence[str]:
        """The words, by id."""
        return self._text

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown words of each line."""
        known = self._id_of_word
        return [
            [w for w in self._split(line, self._separators) if w not in known] for line in lines
        ]

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of words, joined by the separator."""
        between = self._separators[0]
        return [between.join([word for word in row if word]) for row in spellings]

    def save(self, folder: Path) -> None:
        """Write the words into `folder`, which is made if missing."""
        save_words(folder, self)

    def content(self) -> dict[str, Any]:
        """The words, for a file."""
        option = {} if self._separators == SPACE else {"separators": self._separators}
        return {"kind": "word", **option, "tokens": self._words}


class CharacterTrainer:
    """Counts characters."""

    def __init__(self, recipe: CharacterTokenizer) -> None:
        self._recipe = recipe
        self._counts = np.zeros(NUM_CODE_POINTS, dtype=np.int64)

    def add(self, lines: Sequence[str]) -> None:
        """Count the characters of these lines."""
        if self._recipe.decompose:
            lines = [unicodedata.normalize("NFD", line) for line in lines]
        self._counts += np.bincount(_code_points("".join(lines)), minlength=NUM_CODE_POINTS)

    def train(self) -> Characters:
        """The vocabulary, most frequent first. Raises DataError if it would be empty."""
        least = self._recipe.min_count
        codes = np.flatnonzero(self._counts >= least)
        by_count = codes[np.argsort(-self._counts[codes], kind="stable")]
        kept = [chr(code) for code in by_count.tolist()]
        if not kept:
            raise DataError(f"tokenizer: no character occurs {least} times in the training data")
        return Characters(kept, decompose=self._recipe.decompose)


class WordTrainer:
    """Counts words."""

    def __init__(self, recipe: WordTokenizer) -> None:
        self._recipe = recipe
        self._counts: Counter[str] = Counter()

    def split(self, line: str) -> list[str]:
        """The words of a line."""
        return _split(line, self._recipe.separators)

    def add(self, lines: Sequence[str]) -> None:
        """Count the words of these lines."""
        for line in lines:
            self._counts.update(self.split(line))

    def train(self) -> Words:
        """The vocabulary, most frequent first. Raises DataError if it would be empty."""
        least = self._recipe.min_count
        kept = [word for word, count in self._counts.items() if count >= least]
        kept.sort(key=lambda word: (-self._counts[word], word))
        if not kept:
            raise DataError(f"tokenizer: no word occurs {least} times in the training data")
        return Words(kept[: self._recipe.vocabulary], self._recipe.separators)


def save_words(folder: Path, words: Words, characters: Characters | None = None) -> None:
    """Write words into `folder`, which is made if missing, with the characters that spell them."""
    spelling = {} if characters is None else {"characters": "".join(characters.spellings()[4:])}
    _save(folder, {**words.content(), **spelling})


def load_vocabulary(folder: Path) -> tuple[Characters | Words, Characters | None]:
    """Read a vocabulary that `save` wrote; of words also the characters that spell them, if it has
    them. Raises RunError for any other file."""
    path = folder / VOCABULARY_FILE
    try:
        content = read_json(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not a vocabulary of s2s ({error})") from error
    if fault := _fault(content):
        raise RunError(f"{path}: not a vocabulary of s2s ({fault})")
    tokens: list[str] = content["tokens"]
    if content["kind"] == "character":
        return Characters(tokens, decompose=content.get("decompose", False)), None
    spelling = content.get("characters")
    words = Words(tokens, content.get("separators", SPACE))
    return words, None if spelling is None else Characters(list(spelling))


def _fault(content: Any) -> str | None:
    """The fault of a vocabulary as read; None if it is valid."""
    if not isinstance(content, dict) or not {"format", "kind", "tokens"} <= set(content):
        return "expected the keys format, kind and tokens"
    if content["format"] != FORMAT:
        return f"expected format {FORMAT}, found {content['format']!r:.80}"
    tokens = content["tokens"]
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return "expected tokens to be a list of strings"
    if len(set(tokens)) != len(tokens):
        return "a token occurs twice"
    options = {key: content[key] for key in set(content) - {"format", "kind", "tokens"}}
    separators = options.get("separators", SPACE)
    match content["kind"]:
        case "character" if options in ({}, {"decompose": True}):
            is_sound = all(len(token) == 1 for token in tokens)
        case "word" if set(options) <= {"separators", "characters"} and isinstance(separators, str):
            spelling = options.get("characters", "")
            if not isinstance(spelling, str) or len(set(spelling)) != len(spelling):
                return "expected characters to be a string in which each occurs once"
            is_sound = bool(separators) and all(
                _split_exactly(t, separators) == [t] for t in tokens
            )
        case "character" | "word":
            return f"unexpected keys: {', '.join(sorted(options)):.80}"
        case kind:
            return f"expected kind 'character' or 'word', found {kind!r:.80}"
    return None if is_sound else f"a token is no {content['kind']}"


def _save(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, **content}, ensure_ascii=False, indent=0)
    atomic_write(folder / VOCABULARY_FILE, text + "\n")


def _code_points(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _split(line: str, separators: str) -> list[str]:
    """The words of a line; where U+0020 is a separator, all white space is."""
    if separators == LINE:
        label = SPACE.join(split_words(line))
        return [label] if label else []
    if SPACE not in separators:
        return _split_exactly(line, separators)
    for other in separators.replace(SPACE, ""):
        line = line.replace(other, SPACE)
    return split_words(line)


def _split_exactly(line: str, separators: str) -> list[str]:
    """The words of a line between these characters alone."""
    for other in separators[1:]:
        line = line.replace(other, separators[0])
    return [word for word in line.split(separators[0]) if word]
