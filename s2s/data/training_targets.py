"""The set of training targets, to find outputs that are copied from them."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from s2s.data.preparation.overlap import SortedHashes, text_hashes
from s2s.data.sources.chunks import CHUNK_PAIRS
from s2s.data.store import Corpus
from s2s.spaces import without_end_space
from s2s.text.tokenizer import Tokenizer

ANY = 2**31
"""Source ids below it: they are not read here."""


class TrainingTargets:
    """The targets as training sees them: normalized, truncated as the recipe says, decoded.

    They are read at the first lookup and kept as 64-bit hashes, 8 bytes each.
    """

    def __init__(
        self, open_train: Callable[[], Corpus], tokenizer: Tokenizer, *, lowercase: bool = False
    ) -> None:
        """`tokenizer` is the target's, whose vocabulary has all ids; `lowercase` ignores case."""
        self._open_train = open_train
        self._tokenizer = tokenizer
        self._lowercase = lowercase

    def have(self, lines: Sequence[str]) -> NDArray[np.bool_]:
        """bool [lines]: which are targets, apart from white space at the end of a line.

        Raises RunError if the training data are missing.
        """
        return self._hashes.has(self._hashed(lines))

    @cached_property
    def _hashes(self) -> SortedHashes:
        found = SortedHashes()
        for texts in self._texts():
            found.add(np.unique(self._hashed(texts)))
        return found

    def _texts(self) -> Iterator[list[str]]:
        corpus = self._open_train()
        corpus.check_ids("data/train.arrow", ANY, self._tokenizer.size)
        offsets, values = corpus.target_offsets, corpus.target_values
        for begin in range(0, len(corpus), CHUNK_PAIRS):
            bounds = pairwise(offsets[begin : begin + CHUNK_PAIRS + 1].tolist())
            yield self._tokenizer.decode([values[start:end].tolist() for start, end in bounds])

    def _hashed(self, lines: Sequence[str]) -> NDArray[np.uint64]:
        texts = (without_end_space(line) for line in lines)
        return text_hashes(text.lower() if self._lowercase else text for text in texts)
