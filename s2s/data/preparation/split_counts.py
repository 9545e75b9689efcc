"""Counts of a split while it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from s2s.data.preparation.feature_coverage import LACKING, PairsWithoutFeatures
from s2s.data.preparation.filters import PairFilter
from s2s.data.preparation.lost_characters import LostCharacters
from s2s.data.preparation.read_pairs import ReadPairs
from s2s.data.preparation.report import SideCounts, SplitReport
from s2s.data.sources.chunks import Chunk
from s2s.data.sources.damage import NO_FAULTS, TableFaults
from s2s.data.sources.split import SplitName
from s2s.data.store import Encoded
from s2s.special import UNK
from s2s.text.byte_lines import Hashes
from s2s.text.tokenizer import Tokenizer

EXAMPLES = 3
"""Unknown tokens of the targets that the report shows."""


@dataclass
class SplitCounts:
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
    hashes: list[Hashes] = field(default_factory=list)
    source_hashes: list[Hashes] = field(default_factory=list)
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

    def add_read(self, read: ReadPairs) -> None:
        """Count what normalization changes in texts, dropped ones included, and missing
        features."""
        if read.lacking is not None:
            self.lacking.add(read.whole.source, read.lacking)
        self.source_lost.merge(read.lost[0])
        self.target_lost.merge(read.lost[1])

    def add_kept(
        self, tokenizer: Tokenizer, read: ReadPairs, kept: NDArray[np.bool_], target: Encoded
    ) -> None:
        """Count the targets that are kept, as texts and encoded."""
        self.num_one_word += int(np.count_nonzero(read.is_one_word & kept))
        if not self.target.unknown_texts:
            self.target.unknown_texts = _unknown(tokenizer, read.texts[1], kept, target)

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


def _unknown(
    tokenizer: Tokenizer, lines: Sequence[str], kept: NDArray[np.bool_], rows: Encoded
) -> tuple[str, ...]:
    """The first unknown tokens of the lines that are kept, whose ids are given."""
    places = np.flatnonzero(rows.values == UNK)[:EXAMPLES]
    if not len(places):
        return ()
    found = np.unique(np.searchsorted(np.cumsum(rows.lengths), places, side="right"))
    unknown = tokenizer.unknown([lines[row] for row in np.flatnonzero(kept)[found].tolist()])
    return tuple(dict.fromkeys(text for row in unknown for text in row if text))[:EXAMPLES]
