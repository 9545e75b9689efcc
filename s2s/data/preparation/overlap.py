"""Training pairs that validation or test has too, and validation pairs that test has.

Whoever is scored on what training has seen is scored for memory (Elangovan et al. 2021). What an
evaluated split has is remembered as 64-bit hashes, 8 bytes a pair and reference: among 10^6 of them
and 10^8 training pairs, two different ones that look the same are expected 5 times in a million
preparations.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from s2s.data.sources.chunks import Chunk
from s2s.data.sources.split import SplitName
from s2s.recipe.filters import Compared

REASONS: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("in test", "in validation"),
    "validation": ("in test",),
    "test": (),
}
"""Why a pair of a split can be left out, in the order in which it is counted."""


class HeldOut:
    """What the splits that come before training have, compared by what the recipe asks for."""

    def __init__(self, kinds: Iterable[Compared]) -> None:
        """`kinds` are those that some corpus asks for; nothing is remembered for others."""
        self._kinds = sorted(set(kinds))
        self._hashes: dict[tuple[Compared, str], SortedHashes] = defaultdict(SortedHashes)

    def add(self, name: SplitName, chunk: Chunk) -> None:
        """Remember pairs of a split; where they have references, each of them makes a pair."""
        for kind in self._kinds:
            self._hashes[kind, f"in {name}"].add(_hashes(chunk, kind))

    def found(self, name: SplitName, chunk: Chunk, kind: Compared) -> dict[str, NDArray[np.bool_]]:
        """bool [pairs] for each reason why pairs of split `name` can be left out."""
        hashes = _hashes(chunk._replace(references=None), kind)
        return {reason: self._hashes[kind, reason].has(hashes) for reason in REASONS[name]}


class SortedHashes:
    """A set of 64-bit hashes, sorted when it is asked for the first time."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Put hashes in."""
        self._parts.append(hashes)

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool [hashes]: which are in."""
        if len(self._parts) > 1:
            self._parts = [np.unique(np.concatenate(self._parts))]
        known = self._parts[0] if self._parts else np.empty(0, dtype=np.uint64)
        return np.isin(hashes, known)


def compared(text: str) -> str:
    """What of a text is compared: neither case nor white space nor punctuation.

    So `I don't!` is `i don ' t .`: one corpus often has both. A text of punctuation alone keeps it.
    """
    folded = text.casefold()
    return folded.translate(_WITHOUT_PUNCTUATION) or "".join(folded.split())


class _Characters(dict[int, int | None]):
    """A table for `str.translate` that is filled in as characters are met."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        is_left_out = character.isspace() or unicodedata.category(character).startswith("P")
        self[code] = None if is_left_out else code
        return self[code]


_WITHOUT_PUNCTUATION = _Characters()


def text_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """uint64: a hash of each text, the same in every process."""
    digests = (blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _hashes(chunk: Chunk, kind: Compared) -> NDArray[np.uint64]:
    """uint64: a hash of each pair, or of each source; the same in every process."""
    return text_hashes(_keys(chunk, kind))


def _keys(chunk: Chunk, kind: Compared) -> Iterator[str]:
    match kind:
        case "sources":
            yield from map(compared, chunk.source)
        case "pairs":
            sources = list(map(compared, chunk.source))
            for source, target in zip(sources, chunk.target, strict=True):
                yield f"{source}\n{compared(target)}"
            for source, options in zip(sources, chunk.references or (), strict=False):
                yield from (f"{source}\n{compared(option)}" for option in options)
        case _:
            assert_never(kind)
