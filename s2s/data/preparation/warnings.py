"""Warnings about prepared data: numbers that foretell a low score, each with what to do."""

from collections.abc import Iterator, Sequence

from s2s.data.preparation.lost_characters import kept_by_nfkc
from s2s.data.preparation.report import PrepareReport, SplitReport
from s2s.recipe.data import AnyCorpus, FilesData, GeneratedData, evaluated_of
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    FromRunTokenizer,
    SentencePieceTokenizer,
    SeparateTokenizers,
    SubwordTokenizer,
    WordTokenizer,
)
from s2s.text.characters import describe

UNKNOWN = 0.01
"""Share of unknown target tokens, beyond that of training, that is worth a line."""

LOST = 0.001
"""Share of targets with characters that no output can have from which they are worth a line."""

SHARED = 0.1
"""Share of a held-out split's sources that training may have too without a line."""

ONE_WORD = 0.5
"""Share of targets of one word from which BLEU, which counts four words in a row, says nothing."""

REPEATED = 0.5
"""Share of pairs with a source of an earlier pair from which a line says how to join them."""

SPACED = 0.01
"""Share of targets with spaces that no output can have from which they are worth a line."""

OF_CHARACTERS = {"exact", "g2p_wer", "cer"}
"""Metrics that compare every character."""

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
    yield from _lost(report, recipe)
    yield from _spaced(report, recipe)
    if train is not None and train.target.unknown_rate > UNKNOWN and train.target.unknown_texts:
        shown = ", ".join(map(describe, train.target.unknown_texts))
        yield (
            f"train: {train.target.unknown:,} target tokens ({train.target.unknown_rate:.1%}) are "
            f"unknown, such as {shown}; no output can have them"
        )
    share = 0.0 if train is None else train.one_word_targets / max(1, train.kept)
    if recipe.train.best in FLAT_METRICS and "validation" in report.splits and share >= ONE_WORD:
        yield (
            f"train.best {recipe.train.best}: {share:.0%} of the targets are one word, and BLEU of "
            "outputs of fewer than four words is 0; choose exact, cer or chrf (metrics and "
            "train.best)"
        )


def _lost(report: PrepareReport, recipe: Recipe) -> Iterator[str]:
    """A line about characters of targets that normalization changes, for the first split with
    some."""
    for name, split in report.splits.items():
        side = split.target
        if side.changed < max(1, LOST * split.read):
            continue
        shown = [f"{describe(character)} ({count:,})" for character, count in side.lost]
        if side.num_lost > len(shown):
            shown.append(f"{side.num_lost - len(shown):,} more")
        yield (
            f"{name}: normalization changes {side.changed:,} of {split.read:,} targets: no output "
            f"can have {', '.join(shown)}; {_remedy(recipe, [c for c, _ in side.lost])}"
        )
        return


def _spaced(report: PrepareReport, recipe: Recipe) -> Iterator[str]:
    """A line about spaces of targets that no output can have, for the first split with many."""
    strict = [name for name in recipe.metrics if name in OF_CHARACTERS]
    for name, split in report.splits.items():
        spaced = split.target.spaced
        if strict and spaced >= max(1, SPACED * split.read):
            yield (
                f"{name}: {spaced:,} of {split.read:,} targets begin with a space or have several "
                f"in a row, which no output can have: {' and '.join(strict)} count them as wrong; "
                "write single spaces, or use a tokenizer of kind 'character'"
            )
            return


def _remedy(recipe: Recipe, lost: Sequence[str]) -> str:
    """What keeps characters that the normalization of targets changes."""
    chosen, place = recipe.tokenizer, "tokenizer"
    if isinstance(chosen, SeparateTokenizers):
        chosen, place = chosen.target, "tokenizer.target"
    match chosen:
        case SubwordTokenizer(normalization="identity"):
            return "sentencepiece writes spaces so"
        case SubwordTokenizer():
            keeps = chosen.normalization.startswith("nmt_") and all(map(kept_by_nfkc, lost))
            folds = "_cf" if chosen.normalization.endswith("_cf") else ""
            wanted = f"nfkc{folds}" if keeps else "identity"
            return f"{place}.normalization: {wanted} keeps them"
        case CharacterTokenizer():
            return f"{place}.decompose: false keeps them"
        case FromRunTokenizer() | SentencePieceTokenizer():
            return "so does the tokenizer that was taken over; train one without normalization"
        case WordTokenizer():
            return f"a tokenizer of words writes {chosen.separators[0]!r} between all words"


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
