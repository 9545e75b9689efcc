"""Tags: symbols such as `<2en>` before a source, for the target language or the origin of the text
(Johnson et al. 2017; Caswell et al. 2019). A tag is one token with any tokenizer."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.errors import RunError, UsageError
from s2s.files import atomic_write, read_json
from s2s.spaces import INVISIBLE_SPACES
from s2s.spaces import is_blank as is_blank_text

if TYPE_CHECKING:
    from s2s.text.tokenizer import Tokenizer

TAGS_FILE = "tags.json"

_TAG = re.compile(r"<[^\s<>]+>\Z")
"""A tag, as recipes define it; an empty one would be at the beginning of a line for ever."""


class Tagged:
    """A tokenizer with tags, whose ids follow those of its vocabulary.

    Tags are recognized only at the beginning of a line, with or without a space after them.
    """

    def __init__(self, base: "Tokenizer", tags: Sequence[str]) -> None:
        self.base = base
        self.tags = tuple(tags)
        self._ids = {tag: id_ for id_, tag in enumerate(self.tags, start=base.size)}
        self._front = re.compile(
            rf"(?:[\s{INVISIBLE_SPACES}]*({'|'.join(map(re.escape, self.tags))}) ?)"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tagged) and (self.base, self.tags) == (other.base, other.tags)

    @property
    def size(self) -> int:
        """Number of ids, the special ones and the tags included."""
        return self.base.size + len(self.tags)

    def front(self, line: str) -> str:
        """The tags at the beginning of the line; the text follows them."""
        end = 0
        while found := self._front.match(line, end):
            end = found.end()
        return line[:end]

    def split(self, lines: Sequence[str]) -> tuple[list[list[int]], list[str]]:
        """The tags of each line as ids, and the lines without them."""
        ids, texts = [], []
        for line in lines:
            front = self.front(line)
            ids.append([self._ids[tag] for tag in self._front.findall(front)] if front else [])
            texts.append(line[len(front) :])
        return ids, texts

    def normalize(self, line: str) -> str:
        """The line as encoding and decoding return it if no character is unknown."""
        (tags,), (text,) = self.split([line])
        return " ".join([*(self._tag(tag) for tag in tags), self.base.normalize(text)])

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line, those of its tags first."""
        tags, texts = self.split(lines)
        encoded = self.base.encode(texts)
        return [front + ids if front else ids for front, ids in zip(tags, encoded, strict=True)]

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence; a tag is spelled as in the source."""
        rows = [[int(token) for token in row] for row in ids]
        if all(token < self.base.size for row in rows for token in row):
            return self.base.decode(rows)
        return [" ".join(self._texts(row)) for row in rows]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The label of each token."""
        shown: list[str] = []
        for is_tag, run in self._runs(ids):
            shown += [self._tag(token) for token in run] if is_tag else self.base.pieces(run)
        return shown

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded; a tag has spaces around it."""
        return [*self.base.surfaces(), *(f" {tag} " for tag in self.tags)]

    def spellings(self) -> Sequence[str]:
        """The spelling of each id; tags have none."""
        return [*self.base.spellings(), *[""] * len(self.tags)]

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown tokens after the tags."""
        return self.base.unknown(self.split(lines)[1])

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of spellings."""
        return self.base.spell(spellings)

    def save(self, folder: Path) -> None:
        """Write the tokenizer and the tags into `folder`, which is made if missing."""
        self.base.save(folder)
        atomic_write(folder / TAGS_FILE, json.dumps(self.tags, ensure_ascii=False) + "\n")

    def _tag(self, token: int) -> str:
        return self.tags[token - self.base.size]

    def _runs(self, ids: Sequence[int]) -> Iterator[tuple[bool, list[int]]]:
        for is_tag, run in groupby(map(int, ids), lambda token: token >= self.base.size):
            yield is_tag, list(run)

    def _texts(self, row: list[int]) -> Iterator[str]:
        for is_tag, run in self._runs(row):
            yield from map(self._tag, run) if is_tag else self.base.decode([run])


def read_tags(folder: Path) -> list[str] | None:
    """The tags of a tokenizer's folder; None if it has none. Raises RunError for an invalid
    file."""
    path = folder / TAGS_FILE
    if not path.exists():
        return None
    try:
        tags: Any = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not the tags of a tokenizer ({error})") from error
    if not isinstance(tags, list) or not tags or not all(map(_is_tag, tags)) or _repeats(tags):
        raise RunError(f"{path}: expected different tags, such as <2en>, found {tags!r:.80}")
    return tags


def _is_tag(value: object) -> bool:
    return isinstance(value, str) and bool(_TAG.match(value))


def _repeats(tags: list[str]) -> bool:
    return len(set(tags)) < len(tags)


def untagged(tokenizer: "Tokenizer") -> "Tokenizer":
    """The tokenizer of the text after the tags."""
    return tokenizer.base if isinstance(tokenizer, Tagged) else tokenizer


def tags_of(tokenizer: "Tokenizer") -> tuple[str, ...]:
    """The tags that a tokenizer knows."""
    return tokenizer.tags if isinstance(tokenizer, Tagged) else ()


def front_of(tokenizer: "Tokenizer", line: str) -> str:
    """The tags of a line, with the space after them; empty if there are none."""
    return tokenizer.front(line) if isinstance(tokenizer, Tagged) else ""


def is_blank(tokenizer: "Tokenizer", line: str) -> bool:
    """Whether a line has no text: white space alone, or tags and white space."""
    return is_blank_text(line[len(front_of(tokenizer, line)) :])


def with_tag(lines: Sequence[str], tag: str) -> list[str]:
    """The lines with a tag before them; a blank line stays as it is."""
    return [line if is_blank_text(line) else f"{tag} {line}" for line in lines]


def check_tag(tokenizer: "Tokenizer", tag: str, place: str) -> None:
    """Raises UsageError, with the known tags, for a tag that a run was not trained with."""
    known = tags_of(tokenizer)
    if tag not in known:
        listed = f"one of {', '.join(known)}" if known else "none: the run's data have no tags"
        raise UsageError(f"{place}: expected {listed}, found '{tag}'")
