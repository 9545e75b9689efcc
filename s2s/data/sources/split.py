"""The protocol of a split of sentence pairs."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

from s2s.data.sources.chunks import Chunk

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Split(Protocol):
    """The pairs of one split, in order."""

    def fingerprint(self) -> dict[str, Any]:
        """All that the pairs depend on, as JSON; they are the same as long as it is. Cheap.

        Raises DataError for a missing file.
        """

    def chunks(self) -> Iterator[Chunk]:
        """The pairs, a few thousand at a time, from the first one on.

        Raises DataError, with the place, for anything that is not a pair of texts.
        """
