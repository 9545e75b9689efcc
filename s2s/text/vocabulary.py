"""Vocabularies of characters and of words, which are counted and kept as JSON."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from s2s.errors import DataError, RunError
from s2s.files import atomic_write, read_json
from s2s.recipe.tokenizer import CharacterTokenizer, WordTokenizer
from s2s.spaces import split_words
from s2s.special import SPECIAL_PIECES, UNK
from s2s.text.arrays import code_points
from s2s.text.separators import LINE, SPACE, words_between, words_between_exactly
from s2s.text.symbols import Symbols

VOCABULARY_FILE = "vocabulary.json"
FORMAT = 1

MOST_BYTES = 1 << 28
"""The most bytes of its file."""

UNKNOWN_TEXT = "⁇"
"""An unknown token in decoded text, as in sentencepiece."""

NUM_CODE_POINTS = 0x110000


class Characters:
    """A tokenizer whose tokens are characters, the space included. Decoding restores the text, in
    Unicode's NFC if `decompose`."""

    def __init__(
        self, characters: Sequence[str], *, decompose: bool = False, symbols: Sequence[str] = ()
    ) -> None:
        """`characters` are in the order of their ids, which follow the special ones; with
        `decompose`, they are those of text in Unicode's NFD. `symbols` have the ids before them."""
        self.symbols = Symbols(symbols)
        self._characters = list(characters)
        self._tokens = [*symbols, *characters]
        self._decompose = decompose
        self._text = ["", UNKNOWN_TEXT, "", "", *self._tokens]
        self._id_of_symbol = {text: id_ for id_, text in enumerate(symbols, len(SPECIAL_PIECES))}
        # One array lookup for all characters of a batch; a dict would take a Python step for each.
        self._id_of_code = np.full(NUM_CODE_POINTS, UNK, dtype=np.int32)
        codes = code_points("".join(characters))
        self._id_of_code[codes] = np.arange(len(codes)) + len(SPECIAL_PIECES) + len(symbols)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Characters)
            and self._characters == other._characters
            and self._decompose == other._decompose
            and self.symbols == other.symbols
        )

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return len(self._text)

    def normalize(self, line: str) -> str:
        """The line itself, in NFC if characters are decomposed."""
        return self.symbols.between(line, _composed) if self._decompose else line

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, one per character or symbol."""
        if not self.symbols.are_in("\n".join(lines)):
            return self._encode(lines)
        rows = [self.symbols.split(line) for line in lines]
        texts = [part for row in rows for part in row if part not in self._id_of_symbol]
        found = iter(self._encode(texts))
        ids_of = self._id_of_symbol
        return [
            [id_ for part in row for id_ in ([ids_of[part]] if part in ids_of else next(found))]
            for row in rows
        ]

    def _encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of lines without symbols."""
        if self._decompose:
            lines = [unicodedata.normalize("NFD", line) for line in lines]
        ids: list[int] = self._id_of_code[code_points("".join(lines))].tolist()
        encoded, start = [], 0
        for line in lines:
            encoded.append(ids[start : start + len(line)])
            start += len(line)
        return encoded

    def extends(self, other: "Characters") -> bool:
        """Whether these are the other characters, or those and more after them."""
        first = self._characters[: len(other._characters)]
        is_like = (self._decompose, self.symbols) == (other._decompose, other.symbols)
        return first == other._characters and is_like

    def extended(self, more: Sequence[str]) -> "Characters":
        """These characters and more after them."""
        characters = [*self._characters, *more]
        return Characters(characters, decompose=self._decompose, symbols=self.symbols.texts)

    def written(self, line: str) -> list[str]:
        """The character or symbol of `line` that each of its tokens comes from."""
        written: list[str] = []
        for part in self.symbols.split(line):
            if part in self._id_of_symbol:
                written.append(part)
            elif self._decompose:
                written += [char for char in part for _ in unicodedata.normalize("NFD", char)]
            else:
                written += part
        return written

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence."""
        return [self._joined([self._text[token] for token in row]) for row in ids]

    def _joined(self, parts: Sequence[str]) -> str:
        """The text of characters and symbols; a symbol is not composed with what adjoins it."""
        if not self._decompose:
            return "".join(parts)
        groups = groupby(parts, key=self.symbols.__contains__)
        texts = (("".join(group), is_symbol) for is_symbol, group in groups)
        return "".join(text if is_symbol else _composed(text) for text, is_symbol in texts)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each character or symbol; a space is `▁`."""
        shown = [*SPECIAL_PIECES, *self._tokens]
        return [shown[token].replace(" ", "▁") for token in ids]

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded, before NFC."""
        return list(self._text)

    @property
    def between(self) -> str:
        """The text between two tokens."""
        return ""

    def spellings(self) -> Sequence[str]:
        """The symbols and characters, by id."""
        return self._text

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown characters of each line."""
        rows = [self.symbols.texts_between(line) for line in lines]
        if self._decompose:
            rows = [[unicodedata.normalize("NFD", text) for text in row] for row in rows]
        id_of = self._id_of_code
        return [[c for text in row for c in text if id_of[ord(c)] == UNK] for row in rows]

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of concatenated spellings."""
        return [self._joined(row) for row in spellings]

    def save(self, folder: Path) -> None:
        """Write the characters into `folder`, which is made if missing."""
        option: dict[str, Any] = {"decompose": True} if self._decompose else {}
        option |= {"symbols": self.symbols.texts} if self.symbols.texts else {}
        _save(folder, {"kind": "character", **option, "tokens": self._characters})


class Words:
    """A tokenizer whose tokens are words between separators, by default white space.

    Where U+0020 is a separator, all white space is (`s2s.spaces.split_words`). A vocabulary
    with other white space in its words was made when U+0020 stood for itself alone, and is used so.
    """

    def __init__(
        self, words: Sequence[str], separators: str = SPACE, symbols: Sequence[str] = ()
    ) -> None:
        """`words` are in the order of their ids, which follow the special ones and `symbols`."""
        self.symbols = Symbols(symbols)
        self._words = list(words)
        self.separators = separators
        has_space_inside = separators != LINE and any(split_words(word) != [word] for word in words)
        self._cut = words_between_exactly if has_space_inside else words_between
        self._tokens = [*symbols, *words]
        self._text = ["", UNKNOWN_TEXT, "", "", *self._tokens]
        self._id_of_word = {word: id_ for id_, word in enumerate(self._tokens, len(SPECIAL_PIECES))}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Words)
            and self._words == other._words
            and self.separators == other.separators
            and self.symbols == other.symbols
        )

    @property
    def size(self) -> int:
        """Number of ids, the special ones included."""
        return len(self._text)

    def normalize(self, line: str) -> str:
        """The line with single separators, all of them the first of `separators`."""
        return self.separators[0].join(self.written(line))

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, one per word."""
        id_of = self._id_of_word.get
        return [[id_of(word, UNK) for word in self.written(line)] for line in lines]

    def extends(self, other: "Words") -> bool:
        """Whether these are the other words, or those and more after them."""
        first = self._words[: len(other._words)]
        is_like = (self.separators, self.symbols) == (other.separators, other.symbols)
        return first == other._words and is_like

    def extended(self, more: Sequence[str]) -> "Words":
        """These words and more after them."""
        return Words([*self._words, *more], self.separators, self.symbols.texts)

    def written(self, line: str) -> list[str]:
        """The word of `line` of each of its tokens."""
        words = self._cut(line, self.separators)
        return self.symbols.split_each(words) if self.symbols.are_in(line) else words

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence."""
        between = self.separators[0]
        return [between.join([t for token in row if (t := self._text[token])]) for row in ids]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each word."""
        shown = [*SPECIAL_PIECES, *self._tokens]
        return [shown[token] for token in ids]

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded, with the separator before it."""
        return [self.separators[0] + text if text else "" for text in self._text]

    @property
    def between(self) -> str:
        """The text between two tokens."""
        return self.separators[0]

    def spellings(self) -> Sequence[str]:
        """The symbols and words, by id."""
        return self._text

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown words of each line."""
        known = self._id_of_word
        return [[word for word in self.written(line) if word not in known] for line in lines]

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of words, joined by the separator."""
        between = self.separators[0]
        return [between.join([word for word in row if word]) for row in spellings]

    def save(self, folder: Path) -> None:
        """Write the words into `folder`, which is made if missing."""
        save_words(folder, self)

    def content(self) -> dict[str, Any]:
        """The words, for a file."""
        is_plain = self.separators == SPACE
        option: dict[str, Any] = {} if is_plain else {"separators": self.separators}
        option |= {"symbols": self.symbols.texts} if self.symbols.texts else {}
        return {"kind": "word", **option, "tokens": self._words}


class CharacterTrainer:
    """Counts characters."""

    def __init__(self, recipe: CharacterTokenizer) -> None:
        self._recipe = recipe
        self.symbols = Symbols(recipe.symbols)
        self._counts = np.zeros(NUM_CODE_POINTS, dtype=np.int64)

    def add(self, lines: Sequence[str]) -> None:
        """Count the characters of these lines, without symbols."""
        lines = [text for line in lines for text in self.symbols.texts_between(line)]
        if self._recipe.decompose:
            lines = [unicodedata.normalize("NFD", line) for line in lines]
        self._counts += np.bincount(code_points("".join(lines)), minlength=NUM_CODE_POINTS)

    def train(self) -> Characters:
        """The vocabulary, most frequent first. Raises DataError if it would be empty."""
        recipe, least = self._recipe, self._recipe.min_count
        codes = np.flatnonzero(self._counts >= least)
        by_count = codes[np.argsort(-self._counts[codes], kind="stable")]
        kept = [chr(code) for code in by_count.tolist()]
        if not kept:
            raise DataError(f"tokenizer: no character occurs {least} times in the training data")
        return Characters(kept, decompose=recipe.decompose, symbols=recipe.symbols)


class WordTrainer:
    """Counts words."""

    def __init__(self, recipe: WordTokenizer) -> None:
        self._recipe = recipe
        self.symbols = Symbols(recipe.symbols)
        self._counts: Counter[str] = Counter()

    def split(self, line: str) -> list[str]:
        """The words of a line."""
        words = words_between(line, self._recipe.separators)
        return self.symbols.split_each(words) if self.symbols.are_in(line) else words

    def add(self, lines: Sequence[str]) -> None:
        """Count the words of these lines."""
        for line in lines:
            self._counts.update(self.split(line))

    def train(self) -> Words:
        """The vocabulary, most frequent first. Raises DataError if it would be empty."""
        least = self._recipe.min_count
        symbols = self._recipe.symbols
        counts = self._counts.items()
        kept = [word for word, count in counts if count >= least and word not in symbols]
        kept.sort(key=lambda word: (-self._counts[word], word))
        if not kept:
            raise DataError(f"tokenizer: no word occurs {least} times in the training data")
        return Words(kept[: self._recipe.vocabulary], self._recipe.separators, symbols)


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
    symbols: list[str] = content.get("symbols", [])
    if content["kind"] == "character":
        return Characters(tokens, decompose=content.get("decompose", False), symbols=symbols), None
    spelling = content.get("characters")
    words = Words(tokens, content.get("separators", SPACE), symbols)
    return words, None if spelling is None else Characters(list(spelling))


def _fault(content: Any) -> str | None:
    """The fault of a vocabulary as read; None if it is valid."""
    if not isinstance(content, dict) or not {"format", "kind", "tokens"} <= set(content):
        return "expected the keys format, kind and tokens"
    if content["format"] != FORMAT:
        return f"expected format {FORMAT}, found {content['format']!r:.80}"
    tokens, symbols = content["tokens"], content.get("symbols", [])
    if fault := _fault_of_texts(tokens, symbols):
        return fault
    own = {"format", "kind", "tokens", "symbols"}
    options = {key: content[key] for key in set(content) - own}
    separators = options.get("separators", SPACE)
    match content["kind"]:
        case "character" if options in ({}, {"decompose": True}):
            is_sound = all(len(token) == 1 for token in tokens)
        case "word" if set(options) <= {"separators", "characters"} and isinstance(separators, str):
            spelling = options.get("characters", "")
            if not isinstance(spelling, str) or len(set(spelling)) != len(spelling):
                return "expected characters to be a string in which each occurs once"
            is_sound = bool(separators) and all(
                words_between_exactly(t, separators) == [t] for t in [*tokens, *symbols]
            )
        case "character" | "word":
            return f"unexpected keys: {', '.join(sorted(options)):.80}"
        case kind:
            return f"expected kind 'character' or 'word', found {kind!r:.80}"
    return None if is_sound else f"a token is no {content['kind']}"


def _fault_of_texts(tokens: Any, symbols: Any) -> str | None:
    """The fault of lists that should have different texts; None if they have."""
    for name, several in (("tokens", tokens), ("symbols", symbols)):
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            return f"expected {name} to be a list of strings"
    if "" in symbols:
        return "a symbol is empty"
    if len({*tokens, *symbols}) != len(tokens) + len(symbols):
        return "a token occurs twice"
    return None


def _save(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, **content}, ensure_ascii=False, indent=0)
    atomic_write(folder / VOCABULARY_FILE, text + "\n")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
