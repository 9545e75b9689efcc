"""The protocol of a split of sentence pairs."""

from collections.abc import Callable, Iterator
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

    def expected(self) -> int | None:
        """About how many pairs `chunks` yields, for progress; None if only reading them tells.

        Quick beside reading. Raises DataError for a missing file.
        """

    def chunks(self) -> Iterator[Chunk]:
        """The pairs, a few thousand at a time, from the first one on.

        Raises DataError, with the place, for anything that is not a pair of texts.
        """


def read_chunks(split: Split, report: Callable[[int, int | None], None]) -> Iterator[Chunk]:
    """The chunks of a split; `report` is called with the pairs that are done and how many there
    are, which are equal at the end. Raises DataError as the split does."""
    expected = split.expected()
    done = 0
    for chunk in split.chunks():
        report(done, total_of(done, expected))
        yield chunk
        done += len(chunk.source)
    report(done, done)


def total_of(done: int, expected: int | None) -> int | None:
    """The total of a stage; None once more is done than was expected."""
    return None if expected is None or done > expected else expected
