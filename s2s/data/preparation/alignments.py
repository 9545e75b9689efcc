"""Word alignments from a file, as links of the tokens of training pairs."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2s.data.store import Encoded
from s2s.errors import DataError
from s2s.text.lines import read_lines
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.word_ids import source_word_ids

_LINK = re.compile(r"([0-9]{1,7})-([0-9]{1,7})\Z", re.ASCII)


class GivenAlignments:
    """The lines of a file in Pharaoh's format, one for each pair that is read.

    A link of two words links each token of the one with each token of the other.
    """

    def __init__(self, path: Path, tokenizers: TokenizerPair) -> None:
        self.path = path
        self.tokenizers = tokenizers
        self.num_read = 0
        self._lines: Iterator[str] = read_lines(path)

    def links(
        self,
        texts: tuple[Sequence[str], Sequence[str]],
        ids: tuple[Encoded, Encoded],
        num_front: int,
    ) -> list[NDArray[np.int32]]:
        """Links int32 [links, 2] of the tokens of the next pairs, whose ids are given.

        Each source begins with so many words that are no text, its tag. Raises DataError for
        what is no alignment of a pair, with its line, and if the file ends.
        """
        sides = (self.tokenizers.source, self.tokenizers.target)
        rows = [np.split(side.values, np.cumsum(side.lengths)[:-1]) for side in ids]
        found = []
        for source, target, *own in zip(*texts, *rows, strict=True):
            line = next(self._lines, None)
            if line is None:
                raise DataError(
                    f"{self.path}: expected a line for each training pair, found no more than "
                    f"{self.num_read:,}"
                )
            self.num_read += 1
            pairs = self._parsed(line, (source, target), num_front)
            words = [
                source_word_ids(tokenizer, text, part.tolist())
                for tokenizer, text, part in zip(sides, (source, target), own, strict=True)
            ]
            found.append(_tokens(pairs, words))
        return found

    def check_end(self) -> None:
        """Raise DataError if the file has more lines than there were pairs."""
        if (more := sum(1 for _ in self._lines)) > 0:
            raise DataError(
                f"{self.path}: expected a line for each of {self.num_read:,} training pairs, found "
                f"{self.num_read + more:,}; lines follow the pairs as they are read, before filters"
            )

    def _parsed(self, line: str, texts: tuple[str, str], num_front: int) -> list[tuple[int, int]]:
        """The links of a line, in numbers of words."""
        place = f"{self.path}:{self.num_read}"
        counts = [len(text.split()) for text in texts]
        counts[0] -= num_front
        links = []
        for part in line.split():
            match = _LINK.match(part)
            if match is None:
                raise DataError(f"{place}: expected links such as 0-0 1-2, found {part[:40]!r}")
            link = (int(match[1]), int(match[2]))
            for side, number, count in zip(("source", "target"), link, counts, strict=True):
                if number >= count:
                    raise DataError(
                        f"{place}: link {part} is beyond the {side}, which has {count} words "
                        "(numbers begin at 0)"
                    )
            links.append((link[0] + num_front, link[1]))
        return links


def _tokens(links: list[tuple[int, int]], words: list[list[int]]) -> NDArray[np.int32]:
    """Links of tokens, int32 [links, 2], from links of words and the word of each token."""
    if not links:
        return np.zeros((0, 2), dtype=np.int32)
    source, target = (np.array(side, dtype=np.int64) for side in words)
    linked = np.zeros((max(words[1], default=0) + 1, max(words[0], default=0) + 1), dtype=np.bool_)
    for one, other in set(links):
        if one < linked.shape[1] and other < linked.shape[0]:
            linked[other, one] = True
    target_L, source_L = linked[np.ix_(target, source)].nonzero()
    return np.stack((source_L, target_L), axis=1).astype(np.int32)
