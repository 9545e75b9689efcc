"""What every source of sentence pairs offers."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

from s2s.data.sources.chunks import Chunk

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Split(Protocol):
    """The pairs of one split, in order."""

    def identity(self) -> dict[str, Any]:
        """What the pairs depend on, as JSON: if it has not changed, neither have they. Cheap.

        Raises DataError where a file is missing.
        """

    def chunks(self) -> Iterator[Chunk]:
        """The pairs, a few thousand at a time, from the first one on.

        Raises DataError, with the place, for whatever is not a pair of texts.
        """
