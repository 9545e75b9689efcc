"""Encodes a split from text to ids on disk and counts what it reads and keeps."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2s.data.alignment import AlignmentWriter
from s2s.data.map_in_order import map_in_order, num_threads
from s2s.data.preparation.alignments import GivenAlignments
from s2s.data.preparation.feature_coverage import FeatureFiles
from s2s.data.preparation.filters import Overlap, PairFilter
from s2s.data.preparation.labels import LabelCheck
from s2s.data.preparation.lost_characters import LostCharacters
from s2s.data.preparation.overlap import HeldOut
from s2s.data.preparation.read_pairs import PairReader, ReadPairs, Texts
from s2s.data.preparation.report import SideCounts, SplitReport
from s2s.data.preparation.split_counts import SplitCounts
from s2s.data.preparation.token_rows import select, truncate_rows
from s2s.data.sources.chunks import Chunk
from s2s.data.sources.split import Split, SplitName
from s2s.data.store import CorpusWriter, Encoded, write_corpus
from s2s.recipe.filters import Filters, Truncate
from s2s.text.byte_lines import Hashes
from s2s.text.extended_vocabulary import ExtendedVocabulary
from s2s.text.line_placeholders import NO_PLACEHOLDERS, LinePlaceholders
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.word_encoder import Encoder, encoder_of

WIDEST = 2**31 - 1
"""The bound of ids that count a source's tokens: held-out sources may have any length."""


@dataclass
class SplitEncoder:
    """Encodes the splits of a preparation; training comes last, to be compared with the others."""

    tokenizers: TokenizerPair
    filters: tuple[Filters, ...]
    """The filters of each corpus."""
    truncate: Truncate
    folder: Path
    """The folder of the files."""
    evaluated: Filters
    """The filters of the corpus that has validation and test."""
    made: tuple[str | None, ...] = ()
    """The section of each corpus whose pairs other runs make, for messages."""
    keeps_texts: bool = False
    """Whether the training split keeps its texts, as the others always do."""
    extended_vocabulary: ExtendedVocabulary | None = None
    """Extends ids, for a model that copies."""
    features: FeatureFiles | None = None
    """The feature files that lines name, if there are some."""
    check_labels: LabelCheck | None = None
    """Checks targets that are labels; their lengths are not compared with those of sources."""
    placeholders: LinePlaceholders = NO_PLACEHOLDERS
    """Replaces what both sides of a pair have, in what becomes ids; texts are kept as they are."""
    alignments: tuple[GivenAlignments, AlignmentWriter] | None = None
    """The alignments of the training pairs, and what writes those of the pairs that are kept."""
    _overlaps: dict[str, Overlap] = field(default_factory=dict)
    _source_overlaps: dict[str, Overlap] = field(default_factory=dict)
    _held_out: HeldOut = field(init=False)
    _encoders: tuple[Encoder, Encoder] = field(init=False)

    def __post_init__(self) -> None:
        pair = self.tokenizers
        source = encoder_of(pair.source)
        self._encoders = (source, source if pair.is_shared else encoder_of(pair.target))
        kinds = (one.unseen for one in (*self.filters, self.evaluated))
        self._held_out = HeldOut(kind for kind in kinds if kind)

    def encode(self, name: SplitName, split: Split, progress: Callable[[int], None]) -> SplitReport:
        """Write `folder/NAME.arrow`; `progress` is called with the number of pairs read.

        Training is filtered, and validation if its filters have `unseen`. Raises DataError if the
        source is faulty or too few pairs are left.
        """
        is_train = name == "train"
        vocabulary = self._vocabulary() if is_train or self.extended_vocabulary is None else WIDEST
        counts = SplitCounts(
            name=name,
            filters=self._filters_of(name),
            made=self.made if name == "train" else (),
            source=SideCounts(vocabulary=self.tokenizers.source.size),
            target=SideCounts(vocabulary=self.tokenizers.target.size),
            source_lost=LostCharacters(self.tokenizers.source),
            target_lost=LostCharacters(self.tokenizers.target),
        )
        chunks = map_in_order(self._reader(counts), split.chunks(), num_threads())
        first = list(islice(chunks, 1))
        has_references = any(read.chunk.references is not None for read in first)
        with (
            closing(chunks),
            write_corpus(
                self.folder / f"{name}.arrow",
                vocabulary=vocabulary,
                with_text=self._has_text(name),
                with_references=has_references,
                with_features=self.features is not None,
            ) as writer,
        ):
            for read in chain(first, chunks):
                self._keep(read, counts, writer)
                progress(counts.num_read)
            if self.features is not None:
                counts.lacking.check(name, counts.num_read, self.features)
            counts.check()
            writer.sizes = counts.sizes
        if not is_train:
            self._overlaps[name] = Overlap(np.concatenate(counts.hashes))
            source_hashes = np.concatenate(counts.source_hashes)
            self._source_overlaps[name] = Overlap(source_hashes)
            counts.num_repeated = len(source_hashes) - len(np.unique(source_hashes))
        return counts.report()

    def _reader(self, counts: SplitCounts) -> PairReader:
        """What reads the pairs of a split."""
        is_compared = bool(self._overlaps) or any(one.duplicates for one in self.filters)
        return PairReader(
            self._encoders,
            (counts.source_lost, counts.target_lost),
            self.placeholders,
            self.extended_vocabulary,
            self.features,
            self.truncate,
            has_hashes=counts.name != "train" or is_compared,
        )

    def num_in_train(self, name: SplitName) -> int | None:
        """The number of pairs of a held-out split that training has too, after all splits."""
        return self._overlaps[name].count if name in self._overlaps else None

    def num_sources_in_train(self, name: SplitName) -> int | None:
        """The number of pairs of a held-out split whose source training has too."""
        overlap = self._source_overlaps.get(name)
        return None if overlap is None else overlap.count

    def _filters_of(self, name: SplitName) -> list[PairFilter]:
        """The filters of each corpus in the split; none if nothing is dropped."""
        filters = self.filters if name == "train" else (self.evaluated,)
        if name == "test" or (name == "validation" and not self.evaluated.unseen):
            return []
        return [PairFilter(one, self.truncate, split=name) for one in filters]

    def _has_text(self, name: SplitName) -> bool:
        return self.keeps_texts or name != "train"

    def _vocabulary(self) -> int:
        """A bound of the ids of the training split."""
        source, target = self.tokenizers.source.size, self.tokenizers.target.size
        if self.extended_vocabulary is None:
            return max(source, target)
        longest = max(self.truncate.source or 0, *(one.max_length for one in self.filters))
        return source + target + longest + 1  # with a tag

    def _check(self, counts: SplitCounts, texts: Texts, target: Encoded) -> None:
        """Raise DataError for targets that are not the labels they should be."""
        if self.check_labels is not None:
            self.check_labels(counts.name, counts.num_read, texts, target)

    def _links(
        self,
        name: SplitName,
        chunk: Chunk,
        texts: Texts,
        ids: tuple[Encoded, Encoded],
    ) -> list[NDArray[np.int32]]:
        """The links of each pair that is read, if they are given."""
        if self.alignments is None or name != "train":
            return []
        return self.alignments[0].links(texts, ids, 1 if chunk.tag else 0)

    def _write_links(self, links: list[NDArray[np.int32]]) -> None:
        """Write the links of pairs that are kept, if they are given."""
        if self.alignments is not None and links:
            lengths = np.fromiter(map(len, links), np.int64, len(links))
            self.alignments[1].append(np.concatenate(links), lengths)

    def _measured(self, source: Encoded, target: Encoded) -> tuple[Encoded, Encoded]:
        """The sides whose lengths filters compare."""
        if self.features is not None and not self.features.lines.has_text:
            return target, target  # sources without text have no length
        if self.check_labels is None:
            return source, target
        if self.check_labels.task == "tag":  # ids of sources may be those of characters
            return target, target
        # A label is as short as it is; a text without one is dropped.
        return source, Encoded(source.values, source.lengths * (target.lengths > 0))

    def _keep(self, read: ReadPairs, counts: SplitCounts, writer: CorpusWriter) -> None:
        """Write those pairs of a chunk that the filters keep; chunks come in their order."""
        chunk, texts, rows_NF = read.chunk, read.texts, read.rows_NF
        counts.add_read(read)
        self._check(counts, texts, read.ids[1])
        source, source_lost = truncate_rows(read.ids[0], self.truncate.source)
        target, target_lost = truncate_rows(read.ids[1], self.truncate.target)
        links = self._links(counts.name, chunk, texts, (source, target))
        hashes = read.hashes
        kept = np.ones(len(chunk.source), dtype=bool)
        if counts.filters:
            text = _untagged(source) if chunk.tag else source
            one = counts.filters[chunk.corpus]
            held_out = self._held_out.found(counts.name, chunk, one.unseen) if one.unseen else {}
            pairs = None if hashes is None else hashes[0]
            kept = one.keep(*self._measured(text, target), pairs, held_out)
            hashes = hashes and (hashes[0][kept], hashes[1][kept])
            source, target = select(source, kept), select(target, kept)
            source_lost, target_lost = source_lost[kept], target_lost[kept]
            rows_NF = _of_rows(rows_NF, kept)
            self._write_links(list(compress(links, kept)))
        self._compare(counts, chunk, hashes)
        kept_texts = None
        if self._has_text(counts.name):
            kept_texts = (list(compress(read.sources, kept)), list(compress(chunk.target, kept)))
        references = chunk.references and list(compress(chunk.references, kept))
        writer.append(source, target, kept_texts, references, rows_NF)
        counts.add(read.whole, source, target)
        counts.add_kept(self.tokenizers.target, read, kept, target)
        if self.features is not None and rows_NF is not None:
            self.features.use(rows_NF)
        counts.add_cut(source_lost, target_lost)

    def _compare(
        self, counts: SplitCounts, chunk: Chunk, hashes: tuple[Hashes, Hashes] | None
    ) -> None:
        """Compare the pairs that are kept with other splits, or keep their hashes for that."""
        if hashes is None:
            return
        pairs, sources = hashes
        if counts.name == "train":
            for overlap in self._overlaps.values():
                overlap.update(pairs)
            for overlap in self._source_overlaps.values():
                overlap.update(sources)
        else:
            counts.hashes.append(pairs)
            counts.source_hashes.append(sources)
            self._held_out.add(counts.name, chunk)


def _untagged(rows: Encoded) -> Encoded:
    """The rows with their lengths less the tag that each begins with."""
    return Encoded(rows.values, rows.lengths - (rows.lengths > 0))


def _of_rows(
    rows_NF: NDArray[np.int64] | None, kept: NDArray[np.bool_]
) -> NDArray[np.int64] | None:
    """The rows of feature files of the pairs that are kept."""
    return None if rows_NF is None else rows_NF[kept]
