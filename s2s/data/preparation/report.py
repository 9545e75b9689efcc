"""The report of preparation, kept beside the data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from s2s.data.preparation.lost_characters import LostCharacters
from s2s.data.sources.made_pairs import MadeReport
from s2s.special import UNK

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table

    from s2s.data.store import Encoded

PERCENTILES = (50, 90, 99, 100)


@dataclass(frozen=True, kw_only=True)
class SideReport:
    """Counts of one side of the kept pairs."""

    tokens: int
    """Tokens, end of sentence not counted."""
    unknown: int
    """Tokens that are not in the vocabulary."""
    lengths: tuple[int, ...]
    """Lengths in tokens: the 50th, 90th and 99th percentile, and the largest."""
    cut: int = 0
    """Texts longer than `data.truncate` allows."""
    cut_tokens: int = 0
    """Tokens cut off these texts, which `tokens` and `lengths` do not count."""
    changed: int = 0
    """Texts with characters that the tokenizer's normalization changes."""
    lost: tuple[tuple[str, int], ...] = ()
    """The first of these characters, with the number of texts."""
    num_lost: int = 0
    """How many different characters these are."""
    spaced: int = 0
    """Texts with a space at the beginning, or several in a row, that no output can have."""
    unknown_texts: tuple[str, ...] = ()
    """The first unknown words or characters."""

    @property
    def unknown_rate(self) -> float:
        """The share of unknown tokens."""
        return self.unknown / max(self.tokens, 1)


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """Counts of one split."""

    read: int
    """Pairs in the source."""
    kept: int
    """Pairs written."""
    dropped: dict[str, int]
    """Pairs dropped, by reason; a pair counts for the first that applies."""
    line_breaks: int
    """Texts with a line break, which became a space."""
    in_train: int | None
    """Pairs of validation or test that training has too; None for the training split."""
    source: SideReport
    target: SideReport
    sources_in_train: int | None = None
    """Pairs of validation or test whose source training has too."""
    one_word_targets: int = 0
    """Targets of one word, or none."""
    repeated_sources: int = 0
    """Pairs of validation or test whose source an earlier pair of the split has."""
    corpora: tuple[int, ...] = ()
    """Pairs written of each of several corpora, in the order of the recipe."""
    damaged_rows: int = 0
    """Rows of tables that are damaged and were not read as pairs."""
    table_faults: tuple[str, ...] = ()
    """What is wrong with tables, a line for each."""


@dataclass(frozen=True, kw_only=True)
class FeatureReport:
    """Counts of one feature file."""

    path: str
    width: int
    regions: tuple[int, int]
    """The numbers of regions of the smallest and the largest grid in use."""
    rows: int
    """Ids."""
    unused: int
    """Ids that no pair has."""

    def __str__(self) -> str:
        """The report on one line."""
        least, most = self.regions
        regions = f"{most}" if least == most else f"{least} to {most}"
        return (
            f"{self.path}: {self.rows:,} ids of {regions} × {self.width}, "
            f"{self.unused:,} in no split"
        )


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """The report of `prepare`."""

    splits: dict[str, SplitReport]
    """The splits of the recipe by name: train, validation, test."""
    source_vocabulary: int
    target_vocabulary: int
    seconds: float
    """The duration of the last preparation."""
    features: tuple[FeatureReport, ...] = ()
    """The reports of all feature files."""
    made: tuple[MadeReport, ...] = ()
    """The reports of pairs that other runs have made for training."""
    redone: tuple[str, ...] = ()
    """The parts that this call prepared: `tokenizer`, `data`, both, or nothing if all was up to
    date."""
    warnings: tuple[str, ...] = ()
    """Warnings about the data, one line each."""
    choices: tuple[str, ...] = ()
    """Lines about the values that this call chose to fit the data, where the recipe has none."""

    def rows(self) -> list[tuple[str, list[str]]]:
        """Label and cells of each line of the table; a cell for each split."""
        return _rows(list(self.splits.values()))

    def table(self) -> Table:
        """The report as a table, one column per split."""
        from rich.table import Table

        table = Table("", *self.splits)
        for column in table.columns[1:]:
            column.justify = "right"
        for label, cells in self.rows():
            table.add_row(label, *cells)
        return table

    def lines(self) -> list[str]:
        """What stands below the table."""
        first = (
            f"vocabulary {self.source_vocabulary:,} → {self.target_vocabulary:,}, prepared in "
            f"{self.seconds:.1f} s; lengths: tokens at 50, 90, 99 and 100 %"
        )
        return [first, *map(str, self.features), *map(str, self.made)]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values, for a program."""
        return asdict(self)

    def to_json(self) -> str:
        """The report as JSON, which `from_json` reads."""
        content = asdict(self)
        for name in ("redone", "warnings", "choices"):  # of one call
            del content[name]
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PrepareReport:
        """The report that `to_json` wrote, `redone` empty. Raises ValueError for anything else."""
        from pydantic import TypeAdapter, ValidationError

        try:
            report = TypeAdapter(cls).validate_json(text, strict=True)
        except (ValidationError, RecursionError) as error:
            raise ValueError("not a report of preparation, or damaged") from error
        sides = [side for split in report.splits.values() for side in (split.source, split.target)]
        if not sides or any(len(side.lengths) != len(PERCENTILES) for side in sides):
            raise ValueError("not a report of preparation, or damaged")
        return report


@dataclass
class SideCounts:
    """Counts one side of the pairs, chunk by chunk."""

    vocabulary: int
    """Ids from this one on are unknown tokens too, which a model can copy."""
    num_tokens: int = 0
    num_unknown: int = 0
    num_cut: int = 0
    num_cut_tokens: int = 0
    unknown_texts: tuple[str, ...] = ()
    """Examples of unknown tokens, from the caller."""
    by_length: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """int64 [longest + 1]: the number of texts of each length."""

    def add(self, rows: Encoded) -> None:
        """Count these rows."""
        self.num_tokens += len(rows.values)
        is_unknown = (rows.values == UNK) | (rows.values >= self.vocabulary)
        self.num_unknown += int(np.count_nonzero(is_unknown))
        counts = np.bincount(rows.lengths, minlength=len(self.by_length))
        counts[: len(self.by_length)] += self.by_length
        self.by_length = counts

    def add_cut(self, lost: NDArray[np.int64]) -> None:
        """Count the tokens cut off some rows, int64 [rows]."""
        self.num_cut += int(np.count_nonzero(lost))
        self.num_cut_tokens += int(lost.sum())

    def report(self, lost: LostCharacters) -> SideReport:
        """The report of all rows so far; `lost` has counted their texts."""
        cumulated = np.cumsum(self.by_length)
        ranks = np.ceil(cumulated[-1] * np.asarray(PERCENTILES) / 100)
        lengths = np.searchsorted(cumulated, np.maximum(ranks, 1)) if cumulated[-1] else [0] * 4
        return SideReport(
            tokens=self.num_tokens,
            unknown=self.num_unknown,
            lengths=tuple(int(length) for length in lengths),
            cut=self.num_cut,
            cut_tokens=self.num_cut_tokens,
            changed=lost.num_texts,
            lost=lost.most_common(),
            num_lost=len(lost.characters),
            spaced=lost.num_spaced,
            unknown_texts=self.unknown_texts,
        )


def _rows(splits: list[SplitReport]) -> list[tuple[str, list[str]]]:
    """Label and cells of each line of the table."""
    reasons = list(dict.fromkeys(reason for split in splits for reason in split.dropped))
    rows = [("pairs read", [f"{split.read:,}" for split in splits])]
    if any(split.damaged_rows for split in splits):
        rows.insert(0, ("rows damaged", [f"{split.damaged_rows:,}" for split in splits]))
    for reason in reasons:
        rows.append((f"  {reason}", [f"{s.dropped.get(reason, 0):,}" for s in splits]))
    rows.append(("pairs kept", [f"{split.kept:,}" for split in splits]))
    for number in range(max(len(split.corpora) for split in splits)):
        cells = [f"{s.corpora[number]:,}" if s.corpora else "" for s in splits]
        rows.append((f"  of corpus {number + 1}", cells))
    rows.append(
        ("also in train", ["" if s.in_train is None else f"{s.in_train:,}" for s in splits])
    )
    if any(split.sources_in_train != split.in_train for split in splits):
        counts = [split.sources_in_train for split in splits]
        cells = ["" if count is None else f"{count:,}" for count in counts]
        rows.append(("source also in train", cells))
    for side, reports in (
        ("source", [split.source for split in splits]),
        ("target", [split.target for split in splits]),
    ):
        rows.append((f"{side} tokens", [f"{report.tokens:,}" for report in reports]))
        rows.append((f"{side} unknown", [f"{report.unknown_rate:.3%}" for report in reports]))
        rows.append((f"{side} lengths", [" ".join(map(str, r.lengths)) for r in reports]))
        if any(report.changed for report in reports):
            rows.append((f"{side}s normalized", [f"{report.changed:,}" for report in reports]))
        if any(report.cut for report in reports):
            rows.append((f"{side}s cut short", [f"{report.cut:,}" for report in reports]))
            rows.append(("  tokens lost", [f"{report.cut_tokens:,}" for report in reports]))
    return rows
