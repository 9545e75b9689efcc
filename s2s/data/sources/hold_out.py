"""Validation pairs taken out of the training split, for data that come without any."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import compress
from typing import Any

from s2s.data.sources.chunks import Chunk
from s2s.data.sources.split import Split
from s2s.errors import DataError
from s2s.recipe.filters import HoldOut
from s2s.text.source_features import SEPARATOR


@dataclass(frozen=True)
class SharedSplit:
    """Training pairs that are held out for validation, or those that are left.

    A pair's source text and the seed alone decide where it goes; where sources name features, the
    ids of these instead of all text. So repetitions of a source, and all there is about an image,
    never stand on both sides, neither order nor number of the pairs matter, and nothing is
    remembered.
    """

    split: Split
    """What is divided."""
    share: HoldOut
    is_held_out: bool
    """Which of the two parts this is."""
    num_ids: int = 0
    """Ids that a source line ends with."""

    def identity(self) -> dict[str, Any]:
        """What is divided, and how."""
        return {
            "divided": self.split.identity(),
            "share": self.share.share,
            "seed": self.share.seed,
            "is_held_out": self.is_held_out,
            **({"num_ids": self.num_ids} if self.num_ids else {}),
        }

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError where the split does, and where no pair falls to this part."""
        num_read = num_kept = 0
        for chunk in self.split.chunks():
            deciding = map(self._deciding, chunk.source)
            kept = [is_held_out(text, self.share) == self.is_held_out for text in deciding]
            num_read += len(kept)
            num_kept += sum(kept)
            if any(kept):
                references = chunk.references and list(compress(chunk.references, kept))
                yield chunk._replace(
                    source=list(compress(chunk.source, kept)),
                    target=list(compress(chunk.target, kept)),
                    references=references,
                )
        if num_kept == 0:
            part = "validation" if self.is_held_out else "training"
            raise DataError(
                f"data.hold_out.share {self.share.share:g}: of {num_read:,} pairs, none "
                f"is left for {part}"
            )

    def _deciding(self, source: str) -> str:
        """What of a source line decides where its pair goes."""
        if not self.num_ids:
            return source
        return SEPARATOR.join(source.rsplit(SEPARATOR, self.num_ids)[-self.num_ids :])


def is_held_out(source: str, share: HoldOut) -> bool:
    """Whether pairs of this source are for validation: a number drawn from [0, 1) by a hash of seed
    and text is smaller than the share."""
    drawn = blake2b(f"{share.seed}\n{source}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) < share.share * 2**64
