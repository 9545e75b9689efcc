"""Training texts encoded anew for an epoch, with segmentations drawn at random.

Kudo 2018 (unigram), Provilkov et al. 2020 (BPE).
"""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2s.data.batches import ranges
from s2s.data.preparation.encode import WIDEST, encode, flat, truncated
from s2s.data.store import Corpus, Encoded, write_corpus
from s2s.errors import RunError
from s2s.files import remove
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import sampling_alphas
from s2s.text.extended_vocabulary import ExtendedVocabulary, extended_vocabulary_of
from s2s.text.subword import seed_sampling
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import TokenizerPair, sampling

CHUNK_ROWS = 4096
"""Texts encoded by one call. Part of what is drawn: every call begins its random numbers anew."""


class Stopped(Exception):
    """Nobody waits for the epoch any more."""


@dataclass
class Resampler:
    """Encodes any epoch into a corpus of its own, memory-mapped as the prepared one is.

    What is drawn is a function of (seed, epoch), whatever the number of threads: every chunk of
    texts is encoded by one call, and all calls of an epoch draw from the same random numbers. These
    meet other texts in every chunk, and on the two sides the texts in opposite orders.
    """

    corpus: Corpus
    """Prepared with its texts."""
    source: Tokenizer
    """Draws, or not if this side is not sampled."""
    target: Tokenizer
    recipe: Recipe
    folder: Path
    """Where epochs are written; they vanish from it when they are mapped."""
    extended_vocabulary: ExtendedVocabulary | None = None
    """Extends the ids of both, for a model that copies."""
    threads: int = 1
    stop: threading.Event = field(default_factory=threading.Event)

    def epoch(self, number: int, rows: NDArray[np.int64] | None) -> Corpus:
        """The pairs `rows`, int64 [drawn], sorted, or all of them if None, encoded for an epoch.

        Raises RunError where the disk does not take it, Stopped when `stop` is set.
        """
        chosen = np.arange(len(self.corpus)) if rows is None else np.sort(rows)
        path = self.folder / f"epoch{number}.arrow"
        vocabulary = (
            max(self.source.size, self.target.size) if self.extended_vocabulary is None else WIDEST
        )
        seed_sampling(self.recipe.seed, number)
        try:
            self.folder.mkdir(exist_ok=True)
            with write_corpus(path, vocabulary=vocabulary, with_text=False) as writer:
                for source, target in self._encoded(chosen):
                    writer.append(source, target)
            rows_NF = self.corpus.rows_NF
            corpus = replace(
                Corpus.open(path),
                rows_NF=None if rows_NF is None else rows_NF[chosen],
                features=self.corpus.features,
            )
            self._forget()
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"{path}: the epoch cannot be written there: {reason}") from error
        return corpus

    def close(self) -> None:
        """Leave nothing behind; on Windows, nothing but what is still mapped."""
        self._forget()

    def _forget(self) -> None:
        """Delete the files of epochs: what is mapped can be read all the same.

        Windows deletes none that is mapped, so there it goes after a later epoch, or when the next
        training begins.
        """
        for path in sorted(self.folder.glob("*")):
            with suppress(PermissionError):
                remove(path)
        with suppress(OSError):  # not empty
            self.folder.rmdir()

    def _encoded(self, rows: NDArray[np.int64]) -> Iterator[tuple[Encoded, Encoded]]:
        """Both sides of chunk after chunk, a few of them encoded ahead."""
        waiting: deque[Future[tuple[Encoded, Encoded]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for begin in range(0, len(rows), CHUNK_ROWS):
                    waiting.append(pool.submit(self._chunk, rows[begin : begin + CHUNK_ROWS]))
                    if len(waiting) > 2 * self.threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _chunk(self, rows: NDArray[np.int64]) -> tuple[Encoded, Encoded]:
        if self.stop.is_set():
            raise Stopped
        alphas, truncate = sampling_alphas(self.recipe.tokenizer), self.recipe.data.truncate
        sources, targets = self.corpus.texts(rows)
        if self.corpus.features is not None:
            sources = self.corpus.features.read(sources).texts
        if (
            self.extended_vocabulary is not None
        ):  # where a token is copied from moves with the segmentation
            return self._extended(self.extended_vocabulary, sources, targets)
        if alphas[0] is None:
            source = _stored(self.corpus.source_values, self.corpus.source_offsets, rows)
        else:
            source, _ = truncated(encode(self.source, sources), truncate.source)
        if alphas[1] is None:
            target = _stored(self.corpus.target_values, self.corpus.target_offsets, rows)
        else:
            target, _ = truncated(_reversed(encode(self.target, targets[::-1])), truncate.target)
        return source, target

    def _extended(
        self, extended_vocabulary: ExtendedVocabulary, sources: list[str], targets: list[str]
    ) -> tuple[Encoded, Encoded]:
        truncate = self.recipe.data.truncate
        readings = [reading.cut(truncate.source) for reading in extended_vocabulary.read(sources)]
        target = _reversed(flat(extended_vocabulary.targets(targets[::-1], readings[::-1])))
        return flat([reading.ids for reading in readings]), truncated(target, truncate.target)[0]


def open_resampler(
    corpus: Corpus, tokenizers: TokenizerPair, recipe: Recipe, folder: Path, threads: int
) -> Resampler | None:
    """What encodes every epoch anew, if the recipe asks for it; `folder` is emptied."""
    alphas = sampling_alphas(recipe.tokenizer)
    if not any(alphas):
        return None
    remove(folder)
    sides = (tokenizers.source, tokenizers.target)
    source, target = (
        side if alpha is None else sampling(side, alpha)
        for side, alpha in zip(sides, alphas, strict=True)
    )
    extended_vocabulary = extended_vocabulary_of(recipe.model, TokenizerPair(source, target))
    return Resampler(corpus, source, target, recipe, folder, extended_vocabulary, threads)


def _stored(
    values: NDArray[np.integer], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> Encoded:
    """What preparation has encoded of some rows."""
    begins = offsets[rows]
    lengths = offsets[rows + 1] - begins
    return Encoded(values[ranges(begins, lengths)], lengths)


def _reversed(rows: Encoded) -> Encoded:
    """The rows in opposite order."""
    begins = np.cumsum(rows.lengths) - rows.lengths
    lengths = rows.lengths[::-1]
    return Encoded(rows.values[ranges(begins[::-1], lengths)], lengths)
