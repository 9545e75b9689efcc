"""A mixture of corpora as one split, each pair with its corpus and its tag."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s2s.data.sources.chunks import Chunk
from s2s.data.sources.split import Split


@dataclass(frozen=True)
class Mixture:
    """Several corpora, one after the other."""

    parts: tuple[Split, ...]
    tags: tuple[str | None, ...]

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprints of the corpora. Raises DataError for a missing file."""
        return {"corpora": [part.fingerprint() for part in self.parts], "tags": list(self.tags)}

    def expected(self) -> int | None:
        """The pairs of all corpora; None where one of them does not tell."""
        found = [part.expected() for part in self.parts]
        known = [count for count in found if count is not None]
        return sum(known) if len(known) == len(found) else None

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError, with the place, for anything that is not a pair of texts."""
        for place, (part, tag) in enumerate(zip(self.parts, self.tags, strict=True)):
            for chunk in part.chunks():
                yield chunk._replace(corpus=place, tag=tag)
