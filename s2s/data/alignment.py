"""Alignments of the training pairs, for guided attention: links of tokens, mapped into memory.

    folder/alignment.links     int32 [links, 2], little-endian: source token, target token
    folder/alignment.npy       int64 [pairs + 1]: where the links of each pair begin

Dimension letters: B sentences, S source time, T target time, L links.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from s2s.data.store import Corpus
from s2s.errors import RunError

LINKS_FILE, OFFSETS_FILE = "alignment.links", "alignment.npy"

_TYPE = np.dtype("<i4")

_CHUNK = 1 << 18
"""Pairs whose links are checked at a time."""

Links = NDArray[np.int32]


class AlignmentWriter:
    """Collects links on disk; in memory are 8 bytes a pair."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.counts: list[NDArray[np.int64]] = []

    def append(self, links_L2: Links, counts: NDArray[np.int64]) -> None:
        """Add pairs: their links, one pair after the other, and the number of each pair's."""
        self._stream.write(np.ascontiguousarray(links_L2, dtype=_TYPE).data)
        self.counts.append(counts)


@contextmanager
def write_alignment(folder: Path) -> Iterator[AlignmentWriter]:
    """Yield a writer; both files are there once the block has ended. The caller provides the
    atomic folder."""
    with (folder / LINKS_FILE).open("wb") as stream:
        writer = AlignmentWriter(stream)
        yield writer
    counts = np.concatenate([np.zeros(1, dtype=np.int64), *writer.counts])
    with (folder / OFFSETS_FILE).open("wb") as stream:
        np.save(stream, np.cumsum(counts), allow_pickle=False)


@dataclass(frozen=True)
class Alignment:
    """The links of the pairs of a corpus; pair i has `links_L2[offsets[i]:offsets[i + 1]]`."""

    links_L2: Links
    offsets: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path, corpus: Corpus) -> "Alignment":
        """Map the files of a prepared folder. Raises RunError unless they belong to the corpus."""
        path = folder / LINKS_FILE
        again = "'s2s prep --force' makes it again"
        try:
            offsets = np.load(folder / OFFSETS_FILE, mmap_mode="r", allow_pickle=False)
            size = path.stat().st_size // _TYPE.itemsize
            # An empty file cannot be mapped.
            flat = np.memmap(path, _TYPE, "r") if size else np.zeros(0, dtype=_TYPE)
            links_L2 = flat.reshape(-1, 2)
        except FileNotFoundError as error:
            raise RunError(f"{error.filename}: no such file; 's2s prep' makes it") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: damaged ({error}); {again}") from error
        found = cls(links_L2, offsets)
        if not found._fits(corpus):
            raise RunError(f"{path}: damaged, or of other pairs; {again}")
        return found

    def dense(self, pairs: NDArray[np.int64], times: tuple[int, int]) -> NDArray[np.bool_]:
        """bool [B, T, S] of some pairs, int64 [B]: which tokens are linked; `times` are T and S."""
        begins = self.offsets[pairs]
        counts = self.offsets[pairs + 1] - begins
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        links_L2 = self.links_L2[np.arange(total) + np.repeat(begins - (ends - counts), counts)]
        found = np.zeros((len(pairs), *times), dtype=np.bool_)
        found[np.repeat(np.arange(len(pairs)), counts), links_L2[:, 1], links_L2[:, 0]] = True
        return found

    def _fits(self, corpus: Corpus) -> bool:
        """Whether all links are of tokens of a corpus's pairs."""
        offsets = self.offsets
        if offsets.dtype != np.int64 or offsets.shape != (len(corpus) + 1,):
            return False
        counts = np.diff(offsets)
        if offsets[0] != 0 or offsets[-1] != len(self.links_L2) or (counts < 0).any():
            return False
        for first in range(0, len(corpus), _CHUNK):
            some = slice(first, first + _CHUNK)
            lengths = np.stack((corpus.source_lengths[some], corpus.target_lengths[some]), axis=1)
            of_chunk = self.links_L2[offsets[first] : offsets[min(first + _CHUNK, len(corpus))]]
            bounds_L2 = np.repeat(lengths, counts[some], axis=0)
            if ((of_chunk < 0) | (of_chunk >= bounds_L2)).any():
                return False
        return True
