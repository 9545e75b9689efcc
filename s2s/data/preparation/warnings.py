"""Warnings about prepared data: numbers that foretell a low score, each with what to do."""

from collections.abc import Iterator

from s2s.data.preparation.report import PrepareReport, SplitReport
from s2s.recipe.data import AnyCorpus, FilesData, GeneratedData, evaluated_of
from s2s.recipe.recipe import Recipe

UNKNOWN = 0.01
"""Share of unknown target tokens, beyond that of training, that is worth a line."""

SHARED = 0.1
"""Share of a held-out split's sources that training may have too without a line."""

ONE_WORD = 0.5
"""Share of targets of one word from which BLEU, which counts four words in a row, says nothing."""

REPEATED = 0.5
"""Share of pairs with a source of an earlier pair from which a line says how to join them."""

FLAT_METRICS = {"bleu", "bleu4"}
"""Values that are 0 for outputs of fewer than four words."""


def prepare_warnings(report: PrepareReport, recipe: Recipe) -> Iterator[str]:
    """A line for everything in the report that will cost a score."""
    train = report.splits.get("train")
    for name, split in report.splits.items():
        yield from (f"{name}: {fault}" for fault in split.table_faults)
        yield from _overlap(name, split)
        if split.line_breaks:
            yield f"{name}: {split.line_breaks} texts had line breaks, now spaces"
        if train is not None and name != "train":
            yield from _unknown(name, split, train)
            yield from _repeated(name, split, evaluated_of(recipe.data))
    share = 0.0 if train is None else train.one_word_targets / max(1, train.kept)
    if recipe.train.best in FLAT_METRICS and "validation" in report.splits and share >= ONE_WORD:
        yield (
            f"train.best {recipe.train.best}: {share:.0%} of the targets are one word, and BLEU of "
            "outputs of fewer than four words is 0; choose exact, cer or chrf (metrics and "
            "train.best)"
        )


def _overlap(name: str, split: SplitReport) -> Iterator[str]:
    """Lines about pairs, or else sources, that training has too."""
    if split.in_train:
        yield (
            f"{name}: {split.in_train} of {split.kept} pairs are in the training data too; "
            "a score on them says little (data.filters.unseen: pairs drops them from training)"
        )
    shared = split.sources_in_train or 0
    if shared > SHARED * split.kept and shared > (split.in_train or 0):
        yield (
            f"{name}: {shared} of {split.kept} sources are in the training data too; a score on "
            "them says little (data.filters.unseen: sources drops their pairs from training)"
        )


def _repeated(name: str, split: SplitReport, data: AnyCorpus) -> Iterator[str]:
    """A line about rows of a table that belong together."""
    if split.repeated_sources < REPEATED * split.kept or isinstance(data, GeneratedData):
        return
    if isinstance(data, FilesData):
        files = {"validation": data.validation, "test": data.test}.get(name) or data.train
        if files.table is None:
            return
    column = data.columns.source or next((one.column for one in data.image_features), None)
    if data.columns.group is None and column is not None:
        yield (
            f"{name}: {split.repeated_sources} of {split.kept} pairs repeat the source of an "
            f"earlier one; data.columns.group: {column} makes one example of them, with all their "
            "targets as references"
        )


def _unknown(name: str, split: SplitReport, train: SplitReport) -> Iterator[str]:
    """A line about target tokens that no output can have."""
    rate = split.target.unknown_rate
    if rate > train.target.unknown_rate + UNKNOWN:
        yield (
            f"{name}: {rate:.1%} of the target tokens are unknown, "
            f"{train.target.unknown_rate:.1%} in training; no output can have them: a tokenizer of "
            "kind 'unigram' or 'character' knows the parts of new words"
        )
