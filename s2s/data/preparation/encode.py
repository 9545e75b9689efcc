"""Encodes a split from text to ids on disk and counts what it reads and keeps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2s.data.alignment import AlignmentWriter
from s2s.data.features.lookup import MISSING, Named
from s2s.data.preparation.alignments import GivenAlignments
from s2s.data.preparation.feature_coverage import LACKING, FeatureFiles, PairsWithoutFeatures
from s2s.data.preparation.filters import Overlap, PairFilter, pair_hashes, text_hashes
from s2s.data.preparation.labels import LabelCheck
from s2s.data.preparation.lost_characters import LostCharacters
from s2s.data.preparation.overlap import HeldOut
from s2s.data.preparation.report import SideCounts, SplitReport
from s2s.data.sources.chunks import Chunk
from s2s.data.sources.damage import NO_FAULTS, TableFaults
from s2s.data.sources.split import Split, SplitName
from s2s.data.store import CorpusWriter, Encoded, write_corpus
from s2s.recipe.filters import Filters, Truncate
from s2s.spaces import split_words
from s2s.special import UNK
from s2s.text.extended_vocabulary import ExtendedVocabulary
from s2s.text.line_placeholders import NO_PLACEHOLDERS, LinePlaceholders
from s2s.text.tags import with_tag
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import TokenizerPair

EXAMPLES = 3
"""Unknown tokens of the targets that the report shows."""

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

    def __post_init__(self) -> None:
        kinds = (one.unseen for one in (*self.filters, self.evaluated))
        self._held_out = HeldOut(kind for kind in kinds if kind)

    def encode(self, name: SplitName, split: Split, progress: Callable[[int], None]) -> SplitReport:
        """Write `folder/NAME.arrow`; `progress` is called with the number of pairs read.

        Training is filtered, and validation if its filters have `unseen`. Raises DataError if the
        source is faulty or too few pairs are left.
        """
        is_train = name == "train"
        vocabulary = self._vocabulary() if is_train or self.extended_vocabulary is None else WIDEST
        counts = _SplitCounts(
            name=name,
            filters=self._filters_of(name),
            made=self.made if name == "train" else (),
            source=SideCounts(vocabulary=self.tokenizers.source.size),
            target=SideCounts(vocabulary=self.tokenizers.target.size),
            source_lost=LostCharacters(self.tokenizers.source),
            target_lost=LostCharacters(self.tokenizers.target),
        )
        path = self.folder / f"{name}.arrow"
        chunks = split.chunks()
        first = list(islice(chunks, 1))
        has_references = any(chunk.references is not None for chunk in first)
        with write_corpus(
            path,
            vocabulary=vocabulary,
            with_text=self._has_text(name),
            with_references=has_references,
            with_features=self.features is not None,
        ) as writer:
            for chunk in chain(first, chunks):
                self._encode_chunk(chunk, counts, writer)
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

    @property
    def _has_source_text(self) -> bool:
        return self.features is None or self.features.lines.has_text

    def _with_features(self, chunk: Chunk, counts: "_SplitCounts") -> tuple[Chunk, Named | None]:
        """The pairs that have all their features, and the features that their lines name."""
        if self.features is None:
            return chunk, None
        named = self.features.lines.read(chunk.source)
        is_complete = (named.rows_NF != MISSING).all(axis=1)
        if is_complete.all():
            return chunk, named
        counts.lacking.add(chunk.source, named)
        chunk = chunk.select(is_complete)
        return chunk, self.features.lines.read(chunk.source)

    def _has_text(self, name: SplitName) -> bool:
        return self.keeps_texts or name != "train"

    def _vocabulary(self) -> int:
        """A bound of the ids of the training split."""
        source, target = self.tokenizers.source.size, self.tokenizers.target.size
        if self.extended_vocabulary is None:
            return max(source, target)
        longest = max(self.truncate.source or 0, *(one.max_length for one in self.filters))
        return source + target + longest + 1  # with a tag

    def _ids(self, sources: list[str], targets: list[str]) -> tuple[Encoded, Encoded]:
        """Both sides, not truncated; without source text the sources are empty."""
        if self.extended_vocabulary is None:
            pair = self.tokenizers
            source = encode(pair.source, sources) if self._has_source_text else empty(len(sources))
            return source, encode(pair.target, targets)
        encoded = self.extended_vocabulary.read(sources)
        # Tokens that are cut off a source cannot be copied.
        cut = [source.cut(self.truncate.source) for source in encoded]
        target_ids = self.extended_vocabulary.targets(targets, cut)
        return concatenate([source.ids for source in encoded]), concatenate(target_ids)

    def _check(
        self, counts: "_SplitCounts", texts: tuple[list[str], list[str]], target: Encoded
    ) -> None:
        """Raise DataError for targets that are not the labels they should be."""
        if self.check_labels is not None:
            self.check_labels(counts.name, counts.num_read, texts, target)

    def _links(
        self,
        name: SplitName,
        chunk: Chunk,
        texts: tuple[list[str], list[str]],
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
        if not self._has_source_text:
            return target, target  # sources without text have no length
        if self.check_labels is None:
            return source, target
        if self.check_labels.task == "tag":  # ids of sources may be those of characters
            return target, target
        # A label is as short as it is; a text without one is dropped.
        return source, Encoded(source.values, source.lengths * (target.lengths > 0))

    def _encode_chunk(self, whole: Chunk, counts: "_SplitCounts", writer: CorpusWriter) -> None:
        chunk, named = self._with_features(whole, counts)
        texts_only, rows_NF = (
            (chunk.source, None) if named is None else (named.texts, named.rows_NF)
        )
        sources = with_tag(chunk.source, chunk.tag) if chunk.tag else chunk.source
        texts_only = with_tag(texts_only, chunk.tag) if chunk.tag else texts_only
        texts_only, targets = self.placeholders.replace_pairs(texts_only, chunk.target)
        counts.add_lost(texts_only if self._has_source_text else [], targets)
        source, target = self._ids(texts_only, targets)
        self._check(counts, (texts_only, targets), target)
        source, source_lost = truncate_rows(source, self.truncate.source)
        target, target_lost = truncate_rows(target, self.truncate.target)
        links = self._links(counts.name, chunk, (texts_only, targets), (source, target))
        hashes, source_hashes = pair_hashes(chunk.source, chunk.target), text_hashes(chunk.source)
        texts, references = (sources, chunk.target), chunk.references
        if counts.filters:
            text = _untagged(source) if chunk.tag else source
            one = counts.filters[chunk.corpus]
            held_out = self._held_out.found(counts.name, chunk, one.unseen) if one.unseen else {}
            kept = one.keep(*self._measured(text, target), hashes, held_out)
            hashes, source_hashes = hashes[kept], source_hashes[kept]
            source, target = _select(source, kept), _select(target, kept)
            source_lost, target_lost = source_lost[kept], target_lost[kept]
            texts = (list(compress(sources, kept)), list(compress(chunk.target, kept)))
            targets, rows_NF = list(compress(targets, kept)), _of_rows(rows_NF, kept)
            references = references and list(compress(references, kept))
            self._write_links(list(compress(links, kept)))
        if counts.name == "train":
            for overlap in self._overlaps.values():
                overlap.update(hashes)
            for overlap in self._source_overlaps.values():
                overlap.update(source_hashes)
        else:
            counts.hashes.append(hashes)
            counts.source_hashes.append(source_hashes)
            self._held_out.add(counts.name, chunk)
        kept_texts = texts if self._has_text(counts.name) else None
        writer.append(source, target, kept_texts, references, rows_NF)
        counts.add(whole, source, target)
        counts.add_kept(self.tokenizers.target, targets, target)
        if self.features is not None and rows_NF is not None:
            self.features.use(rows_NF)
        counts.add_cut(source_lost, target_lost)


@dataclass
class _SplitCounts:
    """Counts of a split while it is read."""

    name: SplitName
    filters: list[PairFilter]
    """The filters of each corpus; none if nothing is dropped."""
    made: tuple[str | None, ...]
    """See `SplitEncoder`."""
    source: SideCounts
    target: SideCounts
    source_lost: LostCharacters
    target_lost: LostCharacters
    hashes: list[NDArray[np.int64]] = field(default_factory=list)
    source_hashes: list[NDArray[np.int64]] = field(default_factory=list)
    num_one_word: int = 0
    num_repeated: int = 0
    num_read: int = 0
    num_line_breaks: int = 0
    faults: TableFaults = NO_FAULTS
    lacking: PairsWithoutFeatures = field(default_factory=PairsWithoutFeatures)

    def add(self, chunk: Chunk, source: Encoded, target: Encoded) -> None:
        """Count a chunk, and its pairs that are kept."""
        self.num_read += len(chunk.source)
        self.num_line_breaks += chunk.num_line_breaks
        self.faults += chunk.faults
        self.source.add(source)
        self.target.add(target)

    def add_lost(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Count what normalization changes in texts, dropped ones included."""
        self.source_lost.add(sources)
        self.target_lost.add(targets)

    def add_kept(self, tokenizer: Tokenizer, texts: Sequence[str], target: Encoded) -> None:
        """Count the targets that are kept, as texts and encoded."""
        self.num_one_word += sum(len(split_words(text)) <= 1 for text in texts)
        if not self.target.unknown_texts:
            self.target.unknown_texts = _unknown(tokenizer, texts, target)

    def add_cut(self, source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
        """Count the tokens cut off sources and targets."""
        self.source.add_cut(source)
        self.target.add_cut(target)

    def check(self) -> None:
        """Raises DataError if a filter has dropped more than the recipe allows."""
        for number, one in enumerate(self.filters):
            made = self.made[number] if self.made else None
            corpus = f", {made or f'corpus {number + 1}'}" if made or len(self.filters) > 1 else ""
            has_own = made is not None and made.startswith("data.")
            one.check(f"{self.name}{corpus}", f"{made}.filters" if has_own else "data.filters")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of pairs kept of each of several corpora; none for a single one."""
        if len(self.filters) < 2:
            return ()
        return tuple(one.num_read - one.dropped.total() for one in self.filters)

    def report(self) -> SplitReport:
        """The report of the whole split; `in_train` is filled in after training is read."""
        # Adding counters would drop reasons with a count of zero.
        lacking = self.lacking.num_pairs
        dropped: dict[str, int] = {LACKING: lacking} if lacking else {}
        for one in self.filters:
            for reason, count in one.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
        return SplitReport(
            read=self.num_read,
            kept=self.num_read - sum(dropped.values()),
            dropped=dropped,
            line_breaks=self.num_line_breaks,
            in_train=None,
            one_word_targets=self.num_one_word,
            repeated_sources=self.num_repeated,
            corpora=self.sizes,
            damaged_rows=self.faults.rows,
            table_faults=self.faults.texts,
            source=self.source.report(self.source_lost),
            target=self.target.report(self.target_lost),
        )


def encode(tokenizer: Tokenizer, lines: Sequence[str]) -> Encoded:
    """The ids of lines, concatenated."""
    return concatenate(tokenizer.encode(lines))


def empty(count: int) -> Encoded:
    """Rows without ids."""
    return Encoded(np.zeros(0, dtype=np.int32), np.zeros(count, dtype=np.int64))


def concatenate(ids: Sequence[Sequence[int]]) -> Encoded:
    """Lists of ids, concatenated."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    values = np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum()))
    return Encoded(values, lengths)


def truncate_rows(rows: Encoded, most: int | None) -> tuple[Encoded, NDArray[np.int64]]:
    """The first `most` ids of each row, and the number that each has lost, int64 [rows]."""
    kept = rows.lengths if most is None else np.minimum(rows.lengths, most)
    lost = rows.lengths - kept
    if most is None or not lost.any():
        return rows, lost
    starts = np.cumsum(rows.lengths) - rows.lengths
    places = np.arange(len(rows.values)) - np.repeat(starts, rows.lengths)
    return Encoded(rows.values[places < most], kept), lost


def _unknown(tokenizer: Tokenizer, lines: Sequence[str], rows: Encoded) -> tuple[str, ...]:
    """The first unknown tokens of lines, given with their ids."""
    places = np.flatnonzero(rows.values == UNK)[:EXAMPLES]
    found = np.searchsorted(np.cumsum(rows.lengths), places, side="right")
    unknown = tokenizer.unknown([lines[row] for row in np.unique(found).tolist()])
    return tuple(dict.fromkeys(text for row in unknown for text in row if text))[:EXAMPLES]


def _untagged(rows: Encoded) -> Encoded:
    """The rows with their lengths less the tag that each begins with."""
    return Encoded(rows.values, rows.lengths - (rows.lengths > 0))


def _of_rows(
    rows_NF: NDArray[np.int64] | None, kept: NDArray[np.bool_]
) -> NDArray[np.int64] | None:
    """The rows of feature files of the pairs that are kept."""
    return None if rows_NF is None else rows_NF[kept]


def _select(rows: Encoded, kept: NDArray[np.bool_]) -> Encoded:
    if kept.all():
        return rows
    return Encoded(rows.values[np.repeat(kept, rows.lengths)], rows.lengths[kept])
