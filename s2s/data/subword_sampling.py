"""Subword sampling: training texts are encoded for each epoch, with random segmentations.

Kudo 2018 (subword regularization, unigram), Provilkov et al. 2020 (BPE-dropout).
"""

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2s.data.map_in_order import map_in_order
from s2s.data.preparation.encode import WIDEST
from s2s.data.preparation.token_rows import concatenate, encode, truncate_rows
from s2s.data.store import Corpus, Encoded, write_corpus
from s2s.errors import RunError
from s2s.files import remove
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import sampling_alphas
from s2s.text.arrays import ranges
from s2s.text.extended_vocabulary import ExtendedVocabulary, extended_vocabulary_of
from s2s.text.tokenizer_pair import TokenizerPair, sampling

CHUNK_ROWS = 4096
"""Texts encoded by one call. Samples depend on it: every call has random numbers of its own."""


class Stopped(Exception):
    """The epoch is no longer needed."""


@dataclass
class SubwordSampler:
    """Encodes any epoch into a corpus of its own, memory-mapped like the prepared one.

    Samples are a function of (seed, epoch), in every process and whatever the number of threads:
    each side of each chunk of texts has random numbers of its own.
    """

    corpus: Corpus
    """The prepared corpus, with texts."""
    tokenizers: TokenizerPair
    recipe: Recipe
    folder: Path
    """The folder of epochs, which are deleted once they are mapped."""
    extended_vocabulary: ExtendedVocabulary | None = None
    """Extends the ids of both sides, for a model that copies."""
    threads: int = 1
    stop: threading.Event = field(default_factory=threading.Event)

    def epoch(self, number: int, rows: NDArray[np.int64] | None) -> Corpus:
        """The pairs `rows` (int64, sorted here; all if None), encoded for an epoch.

        Raises RunError if the disk refuses the file, and Stopped once `stop` is set.
        """
        chosen = np.arange(len(self.corpus)) if rows is None else np.sort(rows)
        path = self.folder / f"epoch{number}.arrow"
        vocabulary = (
            max(self.tokenizers.source.size, self.tokenizers.target.size)
            if self.extended_vocabulary is None
            else WIDEST
        )
        try:
            self.folder.mkdir(exist_ok=True)
            with write_corpus(path, vocabulary=vocabulary, with_text=False) as writer:
                for source, target in self._encoded(number, chosen):
                    writer.append(source, target)
            rows_NF = self.corpus.rows_NF
            corpus = replace(
                Corpus.open(path),
                rows_NF=None if rows_NF is None else rows_NF[chosen],
                features=self.corpus.features,
                places=chosen,
            )
            self._delete_files()
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"{path}: cannot write the epoch: {reason}") from error
        return corpus

    def close(self) -> None:
        """Delete all files; on Windows, all that are not mapped."""
        self._delete_files()

    def _delete_files(self) -> None:
        """Delete the files of epochs; mapped ones stay readable.

        Windows cannot delete a mapped file: a later epoch or the next training deletes it.
        """
        for path in sorted(self.folder.glob("*")):
            with suppress(PermissionError):
                remove(path)
        with suppress(OSError):  # not empty
            self.folder.rmdir()

    def _encoded(self, number: int, rows: NDArray[np.int64]) -> Iterator[tuple[Encoded, Encoded]]:
        """Both sides of each chunk; some chunks are encoded ahead."""
        tasks = (
            (self._drawing(number, begin), rows[begin : begin + CHUNK_ROWS])
            for begin in range(0, len(rows), CHUNK_ROWS)
        )
        with closing(map_in_order(lambda task: self._chunk(*task), tasks, self.threads)) as chunks:
            yield from chunks

    def _drawing(self, epoch: int, begin: int) -> TokenizerPair:
        """The tokenizers with what is drawn for the chunk that begins with pair `begin`."""
        alphas = sampling_alphas(self.recipe.tokenizer)
        sides = (self.tokenizers.source, self.tokenizers.target)
        source, target = (
            # The last number keeps these seeds apart from those of epochs and batches.
            one
            if alpha is None
            else sampling(one, alpha, (self.recipe.seed, epoch, begin, side, 2))
            for side, (one, alpha) in enumerate(zip(sides, alphas, strict=True))
        )
        return TokenizerPair(source, target)

    def _chunk(self, drawing: TokenizerPair, rows: NDArray[np.int64]) -> tuple[Encoded, Encoded]:
        if self.stop.is_set():
            raise Stopped
        alphas, truncate = sampling_alphas(self.recipe.tokenizer), self.recipe.data.truncate
        sources, targets = self.corpus.texts(rows)
        if self.corpus.features is not None:
            sources = self.corpus.features.read(sources).texts
        if self.extended_vocabulary is not None:  # positions to copy from depend on both sides
            return self._extended(self.extended_vocabulary.segmented_by(drawing), sources, targets)
        if alphas[0] is None:
            source = _stored(self.corpus.source_values, self.corpus.source_offsets, rows)
        else:
            source, _ = truncate_rows(encode(drawing.source, sources), truncate.source)
        if alphas[1] is None:
            target = _stored(self.corpus.target_values, self.corpus.target_offsets, rows)
        else:
            target, _ = truncate_rows(encode(drawing.target, targets), truncate.target)
        return source, target

    def _extended(
        self, extended_vocabulary: ExtendedVocabulary, sources: list[str], targets: list[str]
    ) -> tuple[Encoded, Encoded]:
        truncate = self.recipe.data.truncate
        encoded = [source.cut(truncate.source) for source in extended_vocabulary.read(sources)]
        target = concatenate(extended_vocabulary.targets(targets, encoded))
        return concatenate([source.ids for source in encoded]), truncate_rows(
            target, truncate.target
        )[0]


def open_subword_sampler(
    corpus: Corpus, tokenizers: TokenizerPair, recipe: Recipe, folder: Path, threads: int
) -> SubwordSampler | None:
    """The sampler of a recipe, None if it does not sample; `folder` is emptied."""
    if not any(sampling_alphas(recipe.tokenizer)):
        return None
    remove(folder)
    extended_vocabulary = extended_vocabulary_of(recipe.model, tokenizers)
    return SubwordSampler(corpus, tokenizers, recipe, folder, extended_vocabulary, threads)


def _stored(
    values: NDArray[np.integer], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> Encoded:
    """The ids that preparation has stored for some rows."""
    begins = offsets[rows]
    lengths = offsets[rows + 1] - begins
    return Encoded(values[ranges(begins, lengths)], lengths)
