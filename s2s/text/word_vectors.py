"""Files of word vectors: a line for each word, with its numbers, as word2vec (text format), GloVe
and fastText (`.vec`) write them; also compressed with gzip.

    1999995 300                     number and width of the vectors, if there is such a line
    the -0.0517 0.0740 -0.0131 ...

A file is read line by line, and only vectors of wanted words are kept.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from s2s.errors import DataError
from s2s.messages import printable
from s2s.text.lines import open_bytes, raw_lines
from s2s.text.piece_table import SPACE

SHOWN = 3
"""Lines and words that a message names."""

PEEK = 4096
"""Bytes by which a binary file is told from text."""

_HEADER = re.compile(rb"\s*(\d+)[ \t]+(\d+)\s*")
_NUMBER = re.compile(r"[+-]?\d+\.\d+(e[+-]?\d+)?")
_CONTROLS = bytes([*range(9), *range(14, 32)])
_FASTTEXT = b"\xba\x16\x4f\x2f"
_ZIP = b"PK\x03\x04"


@dataclass
class WordVectors:
    """The vectors of wanted words, and what else was in the file."""

    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    has_pieces: bool = False
    """Whether words begin with the space of sentencepiece, so that they are pieces of words."""
    num_lines: int = 0
    """Lines but for the first one with the sizes."""
    promised: int | None = None
    """Vectors that the first line promises."""
    num_doubled: int = 0
    """Wanted words that came again; the first vector counts."""
    doubled: list[str] = field(default_factory=list)
    num_broken: int = 0
    """Lines without a word and its numbers."""
    broken: list[str] = field(default_factory=list)

    def faults(self) -> Iterator[str]:
        """What is wrong with the file, in words."""
        if self.num_doubled:
            shown = ", ".join(map(repr, self.doubled))
            yield f"{self.num_doubled:,} words stand there again ({shown}), and the first counts"
        if self.num_broken:
            yield f"{self.num_broken:,} lines are broken and left out ({'; '.join(self.broken)})"
        if self.promised is not None and self.promised != self.num_lines:
            has = f"{self.num_lines:,} lines"
            yield f"its first line promises {self.promised:,} vectors, and it has {has}"


def read_vectors(path: str, wanted: Collection[str], width: int, place: str) -> WordVectors:
    """Read the vectors of `wanted` words, each of `width` numbers.

    Raises DataError, naming `place` of the recipe, for a file that cannot be read, is binary, has
    vectors of another width, or has none at all.
    """
    name = f"{place}: {path}"
    found = WordVectors()
    with open_bytes(path) as stream:
        _check_text(stream, name)
        lines = raw_lines(stream, path)
        first = next(lines, b"")
        header = _HEADER.fullmatch(first)
        if header is not None:
            found.promised = int(header[1])
            _check_width(int(header[2]), width, name)
            numbered = enumerate(lines, start=2)
        else:
            _check_width(len(_clean(first).split(b" ")) - 1, width, name)
            numbered = enumerate(_again(first, lines), start=1)
        for number, raw in numbered:
            _read_line(raw, number, wanted, width, found)
    if found.num_broken == found.num_lines:
        raise DataError(f"{name}: no word vectors in it")
    return found


def _read_line(
    raw: bytes, number: int, wanted: Collection[str], width: int, found: WordVectors
) -> None:
    line = _clean(raw)
    found.num_lines += 1
    fields = line.rsplit(b" ", width)
    if len(fields) <= width or not fields[0]:
        _add_broken(found, number, f"{len(fields) - 1} numbers")
        return
    try:
        word = fields[0].decode()
    except UnicodeDecodeError:
        _add_broken(found, number, "not UTF-8")
        return
    found.has_pieces |= word.startswith(SPACE) and len(word) > 1
    if " " in word and _NUMBER.fullmatch(word.rpartition(" ")[2]):
        _add_broken(found, number, f"more than {width} numbers")
        return
    if word not in wanted:
        return
    try:
        vector = np.array([float(one) for one in fields[1:]], dtype=np.float32)
    except ValueError:
        _add_broken(found, number, "a field is no number")
        return
    if not np.isfinite(vector).all():
        _add_broken(found, number, "a number is not finite")
    elif word in found.vectors:
        found.num_doubled += 1
        if len(found.doubled) < SHOWN:
            found.doubled.append(printable(word))
    else:
        found.vectors[word] = vector


def _add_broken(found: WordVectors, number: int, what: str) -> None:
    found.num_broken += 1
    if len(found.broken) < SHOWN:
        found.broken.append(f"line {number:,}: {what}")


def _clean(raw: bytes) -> bytes:
    return raw.replace(b"\t", b" ").strip(b" \r\n")


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _check_width(found: int, width: int, name: str) -> None:
    if found != width:
        raise DataError(
            f"{name}: its vectors have {max(found, 0):,} numbers, and model.embeddings is "
            f"{width:,}; the two must be equal (s2s does not project vectors)"
        )


def _check_text(stream: BinaryIO, name: str) -> None:
    """Raise DataError for a binary file."""
    peek = getattr(stream, "peek", None)
    head: bytes = b"" if peek is None else peek(PEEK)[:PEEK]
    if head.startswith(_ZIP):
        raise DataError(f"{name}: a zip archive; unpack it, and name the text file in it")
    if head.startswith(_FASTTEXT):
        raise DataError(
            f"{name}: a binary model of fastText; name the .vec file that fastText writes beside it"
        )
    if head.translate(None, _CONTROLS) != head:
        is_word2vec = _HEADER.match(head) is not None
        advice = (
            "word2vec's binary format; write text: in gensim KeyedVectors.load_word2vec_format("
            "FILE, binary=True).save_word2vec_format(NEW)"
            if is_word2vec
            else "no text; expected a word and its numbers in each line"
        )
        raise DataError(f"{name}: {advice}")
