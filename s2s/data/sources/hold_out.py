"""Validation and test pairs held out from the training split, for data without such splits."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from s2s.data.sources.chunks import Chunk
from s2s.data.sources.damage import NO_FAULTS
from s2s.data.sources.split import Split, SplitName
from s2s.errors import DataError
from s2s.recipe.filters import HoldOut
from s2s.text.source_features import SEPARATOR


@dataclass(frozen=True)
class HoldOutSplit:
    """Training pairs that are held out for validation or test, or the others.

    A hash of the seed and a pair's source decides; if sources name image features, a hash of the
    ids of these. So all pairs of a source, or of an image, go to the same part, and neither the
    order nor the number of pairs matters.
    """

    split: Split
    """The training split, which is divided."""
    hold_out: HoldOut
    part: SplitName
    """Which part this is."""
    num_ids: int = 0
    """The number of ids that a source line ends with."""

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the split, and how it is divided."""
        return {
            "divided": self.split.fingerprint(),
            "share": self.hold_out.share,
            "seed": self.hold_out.seed,
            "is_held_out": self.part == "validation",
            **({"test": self.hold_out.test} if self.hold_out.test else {}),
            **({"is_test": True} if self.part == "test" else {}),
            **({"num_ids": self.num_ids} if self.num_ids else {}),
        }

    def expected(self) -> int | None:
        """The share of the split's pairs."""
        count = self.split.expected()
        shares = {"validation": self.hold_out.share, "test": self.hold_out.test}
        rest = 1.0 - sum(shares.values())
        return None if count is None else round(count * shares.get(self.part, rest))

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError as the split does, and if this part has no pair.

        Faults of tables, whose rows belong to no part, are those of training.
        """
        num_read = 0
        last: Chunk | None = None
        faults = NO_FAULTS
        for chunk in self.split.chunks():
            keys = map(self._key, chunk.source)
            kept = [part_of(text, self.hold_out) == self.part for text in keys]
            num_read += len(kept)
            faults += chunk.faults
            if any(kept):
                if last is not None:
                    yield last
                last = chunk.select(kept)._replace(faults=NO_FAULTS)
        if last is not None:
            yield last._replace(faults=faults if self.part == "train" else NO_FAULTS)
        else:
            name = "test" if self.part == "test" else "share"
            part = "training" if self.part == "train" else self.part
            raise DataError(
                f"data.hold_out.{name} {getattr(self.hold_out, name):g}: of {num_read:,} pairs, "
                f"none is left for {part}"
            )

    def _key(self, source: str) -> str:
        """The part of a source line that decides."""
        if not self.num_ids:
            return source
        return SEPARATOR.join(source.rsplit(SEPARATOR, self.num_ids)[-self.num_ids :])


def part_of(source: str, hold_out: HoldOut) -> SplitName:
    """The part of all pairs of this source: a hash of seed and text, as a number in [0, 1), falls
    into the share of validation, into that of test above it, or above both."""
    digest = blake2b(f"{hold_out.seed}\n{source}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest)
    if number < hold_out.share * 2**64:
        return "validation"
    return "test" if number < (hold_out.share + hold_out.test) * 2**64 else "train"
