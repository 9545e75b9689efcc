"""Overlap of splits: training pairs that validation or test has, validation pairs that test has.

A score on pairs seen in training measures memorization (Elangovan et al. 2021). The pairs of an
evaluated split are kept as 64-bit hashes, 8 bytes a pair and reference. Among 10^6 of them and 10^8
training pairs, a collision is expected 5 times in a million preparations.
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
"""The reasons for which pairs of a split can be dropped, in the order of counting."""


class HeldOut:
    """The pairs of validation and test, compared as the recipe says."""

    def __init__(self, kinds: Iterable[Compared]) -> None:
        """`kinds` are the comparisons of all corpora; only these hashes are kept."""
        self._kinds = sorted(set(kinds))
        self._hashes: dict[tuple[Compared, str], SortedHashes] = defaultdict(SortedHashes)

    def add(self, name: SplitName, chunk: Chunk) -> None:
        """Add pairs of a split; each of several references makes a pair."""
        for kind in self._kinds:
            self._hashes[kind, f"in {name}"].add(_hashes(chunk, kind))

    def found(self, name: SplitName, chunk: Chunk, kind: Compared) -> dict[str, NDArray[np.bool_]]:
        """bool [pairs] for each reason for which pairs of split `name` can be dropped."""
        hashes = _hashes(chunk._replace(references=None), kind)
        return {reason: self._hashes[kind, reason].has(hashes) for reason in REASONS[name]}


class SortedHashes:
    """A set of 64-bit hashes, sorted at the first lookup."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes to the set."""
        self._parts.append(hashes)

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool [hashes]: which are in the set."""
        if len(self._parts) > 1:
            self._parts = [np.unique(np.concatenate(self._parts))]
        known = self._parts[0] if self._parts else np.empty(0, dtype=np.uint64)
        return np.isin(hashes, known)


def compared(text: str) -> str:
    """The text without case, white space and punctuation, as texts are compared.

    So `I don't!` equals `i don ' t .`; corpora often have both. A text of punctuation alone keeps
    it.
    """
    folded = text.casefold()
    return folded.translate(_WITHOUT_PUNCTUATION) or "".join(folded.split())


class _Characters(dict[int, int | None]):
    """A table for `str.translate`, filled on demand."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        is_dropped = character.isspace() or unicodedata.category(character).startswith("P")
        self[code] = None if is_dropped else code
        return self[code]


_WITHOUT_PUNCTUATION = _Characters()


def text_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """uint64 [texts]: a hash of each text, the same in every process."""
    digests = (blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _hashes(chunk: Chunk, kind: Compared) -> NDArray[np.uint64]:
    """uint64: a hash of each pair, or of each source, the same in every process."""
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
