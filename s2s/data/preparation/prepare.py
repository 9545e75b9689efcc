"""Prepares raw pairs: trains tokenizers and encodes splits, redoing only what has changed.

    folder/tokenizer/   the tokenizers       fingerprint: training data, tokenizer section, seed
    folder/data/        train.arrow, validation.arrow, test.arrow, report.json
                                             fingerprint: the above, filters, held-out data
    folder/hashes.json  hashes of the files of data

Files are known by their content (docs/decisions/0023). Each folder is replaced as a whole. Memory
does not grow with the corpus, except for the sample that the tokenizer is trained on, the words
that are remembered (docs/decisions/0027), 8 bytes a pair to drop duplicates, and 8 bytes a pair of
validation and test for `filters.unseen`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from s2s.data.alignment import Alignment
from s2s.data.features.lookup import FEATURES_FOLDER, FeatureLines, open_features
from s2s.data.preparation.align import aligning, alignment_fingerprint
from s2s.data.preparation.encode import SplitEncoder
from s2s.data.preparation.feature_coverage import FeatureFiles
from s2s.data.preparation.fingerprints import (
    FINGERPRINT_FILE,
    Fingerprint,
    fingerprint,
)
from s2s.data.preparation.labels import LabelCheck
from s2s.data.preparation.placeholders import check_symbols, with_placeholders
from s2s.data.preparation.report import PrepareReport, SplitReport
from s2s.data.preparation.warnings import prepare_warnings
from s2s.data.sources.chunks import feature_stamp, file_fingerprint
from s2s.data.sources.columns import id_columns
from s2s.data.sources.contents import Hashes
from s2s.data.sources.fingerprint import fingerprint_of
from s2s.data.sources.made_pairs import made_reports, open_training
from s2s.data.sources.open import open_split
from s2s.data.sources.split import SPLITS, Split, SplitName, read_chunks, total_of
from s2s.data.store import Corpus
from s2s.errors import DataError, RunError
from s2s.files import atomic_folder, remove
from s2s.recipe.data import (
    GeneratedData,
    corpora_of,
    evaluated_of,
    has_source_text,
    image_features_of,
)
from s2s.recipe.filters import Truncate
from s2s.recipe.label_rules import DECODERS
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    FromRunTokenizer,
    SentencePieceTokenizer,
    sampling_alphas,
    sides_of,
)
from s2s.recipe.training_parts import training_parts
from s2s.text.extended_vocabulary import extended_vocabulary_of
from s2s.text.line_placeholders import line_placeholders
from s2s.text.source_features import SEPARATOR, SourceFeatureTokenizer
from s2s.text.tags import untagged
from s2s.text.taken_tokenizer import digest as tokenizer_digest
from s2s.text.taken_tokenizer import taken_folder
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers, train_tokenizers

FORMAT = 1
"""Version of the two folders; another version is prepared again."""

REPORT_FILE = "report.json"
TOKENIZER_STAGE = "training the tokenizer"

Progress = Callable[[str, int, int | None], None]
"""Called with the stage, the number of pairs done, and their total if it is known."""

Splits = Mapping[SplitName, Split]


def prepare(
    recipe: Recipe,
    folder: Path,
    *,
    force: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> PrepareReport:
    """Make `folder/tokenizer` and `folder/data`, or do nothing if they are up to date.

    Raises DataError for data that is not as the recipe says, RunError if `folder` cannot be
    written.
    """
    splits = open_splits(recipe, folder)
    fingerprints = fingerprints_of(recipe, splits, folder)
    if not force and (report := _finished(folder, splits, fingerprints)):
        _upgrade(folder, fingerprints)
        return replace(report, warnings=tuple(prepare_warnings(report, recipe)))
    is_trained = not force and fingerprints["tokenizer"].matches(folder / "tokenizer")
    work = _Work(recipe, splits, folder, progress)
    try:
        if not is_trained:
            work.make_tokenizers(fingerprints["tokenizer"].now)
        report = work.make_data(fingerprints["data"].now)
    except OSError as error:
        place = error.filename or folder
        raise RunError(f"{place}: preparation failed ({error.strerror or error})") from error
    return replace(
        report,
        redone=("data",) if is_trained else ("tokenizer", "data"),
        warnings=tuple(prepare_warnings(report, recipe)),
    )


def is_prepared(recipe: Recipe, folder: Path) -> bool:
    """Whether `prepare` would have nothing to do. Raises DataError for a missing source."""
    splits = open_splits(recipe, folder)
    return _finished(folder, splits, fingerprints_of(recipe, splits, folder)) is not None


def is_data_missing(recipe: Recipe, folder: Path) -> bool:
    """Whether only `folder/data` is missing, so that `prepare` would make the same again.

    Raises DataError for a missing source.
    """
    if (folder / "data").exists():
        return False
    fingerprints = fingerprints_of(recipe, open_splits(recipe, folder), folder)
    return fingerprints["tokenizer"].matches(folder / "tokenizer")


def open_corpus(
    folder: Path,
    split: SplitName,
    features: FeatureLines | None = None,
    *,
    tokenizers: TokenizerPair | None = None,
    is_copying: bool = False,
    is_aligned: bool = False,
) -> Corpus:
    """A split that `prepare` has written, with the feature files that its batches read, and the
    alignments of training if they are asked for.

    Raises RunError if it is missing or damaged; with the `tokenizers` of a model, which may copy,
    also for ids that they do not have.
    """
    path = folder / "data" / f"{split}.arrow"
    corpus = Corpus.open(path)
    if split != "train" and not corpus.has_texts:
        raise RunError(f"{path}: damaged: no texts in it; 's2s prep --force' makes it again")
    if tokenizers is not None:
        sizes = tokenizers.source.size, tokenizers.target.size
        corpus.check_ids(str(path), *sizes, is_copying=is_copying)
    if features is not None:
        corpus.check_rows(str(path), [len(store) for store in features.stores])
    if is_aligned:
        corpus = replace(corpus, alignment=Alignment.open(folder / "data", corpus))
    return replace(corpus, features=features)


@dataclass
class _Work:
    """The steps of preparation, for a recipe whose data have changed."""

    recipe: Recipe
    splits: Splits
    folder: Path
    progress: Progress
    began: float = field(default_factory=time.perf_counter)
    num_train: int | None = None
    """The number of training pairs, after they have been counted."""

    def make_tokenizers(self, fingerprint: str) -> None:
        """Train the tokenizers and write them to the folder."""
        with atomic_folder(self.folder / "tokenizer") as temporary:
            recipe = self.recipe
            tags = tags_of(recipe)
            section, text = with_placeholders(recipe, tags, self._training_text())
            pair = train_tokenizers(section, text, recipe.seed, tags, self.folder)
            self.progress(TOKENIZER_STAGE, 1, 1)
            _check_tokenizers(recipe, pair)
            pair.save(temporary)
            (temporary / FINGERPRINT_FILE).write_text(fingerprint, encoding="utf-8", newline="\n")
            # Data encoded by another tokenizer must not stay beside this one.
            remove(self.folder / "data")

    def make_data(self, fingerprint: str) -> PrepareReport:
        """Encode all splits and write them to the folder."""
        pair = load_tokenizers(self.folder / "tokenizer")
        with atomic_folder(self.folder / "data") as temporary:
            data = self.recipe.data
            parts = training_parts(self.recipe)
            lines = open_features(data, cache=self.folder / FEATURES_FOLDER)
            features = None if lines is None else FeatureFiles(lines, image_features_of(data))
            labels = None
            if self.recipe.task in DECODERS:
                labels = LabelCheck(self.recipe.task, data, pair)
                labels.check_metrics(self.recipe.metrics)
            encoder = SplitEncoder(
                pair,
                tuple(part.filters for part in parts),
                data.truncate,
                temporary,
                evaluated=evaluated_of(data).filters,
                made=tuple(None if part.made is None else part.place for part in parts),
                keeps_texts=_reads_texts(self.recipe),
                extended_vocabulary=extended_vocabulary_of(self.recipe.model, pair),
                features=features,
                check_labels=labels,
                placeholders=line_placeholders(data.placeholders, pair),
            )
            # Training comes last: its overlap with the others is counted on the way.
            with aligning(self.recipe, temporary, encoder, self.progress):
                names = reversed(list(self.splits))
                reports = {name: self._encode(encoder, name) for name in names}
            report = PrepareReport(
                splits={
                    name: replace(
                        reports[name],
                        in_train=encoder.num_in_train(name),
                        sources_in_train=encoder.num_sources_in_train(name),
                    )
                    for name in self.splits
                },
                source_vocabulary=pair.source.size,
                target_vocabulary=pair.target.size,
                features=() if features is None else features.report(self.progress),
                made=made_reports(self.recipe, self.folder),
                seconds=round(time.perf_counter() - self.began, 3),
            )
            (temporary / REPORT_FILE).write_text(report.to_json(), encoding="utf-8", newline="\n")
            (temporary / FINGERPRINT_FILE).write_text(fingerprint, encoding="utf-8", newline="\n")
        return report

    def _training_text(self) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
        num_pairs = 0
        has_text, has_features = (
            has_source_text(self.recipe.data),
            image_features_of(self.recipe.data),
        )
        num_ids = len(id_columns(has_features))
        report = partial(self.progress, "reading")
        for chunk in read_chunks(self.splits["train"], report):
            num_pairs += len(chunk.source)
            source: Sequence[str] = chunk.source if has_text else []
            if num_ids:
                source = [line.rsplit(SEPARATOR, num_ids)[0] for line in source]
            yield source, chunk.target
        self.num_train = num_pairs
        self.progress(TOKENIZER_STAGE, 0, 1)

    def _encode(self, encoder: SplitEncoder, name: SplitName) -> SplitReport:
        stage, split = f"encoding {name}", self.splits[name]
        counted = self.num_train if name == "train" else None
        expected = split.expected() if counted is None else counted
        report = encoder.encode(
            name, split, lambda done: self.progress(stage, done, total_of(done, expected))
        )
        self.progress(stage, report.read, report.read)
        return report


def open_splits(recipe: Recipe, folder: Path | None = None) -> Splits:
    """The splits that the recipe's data have; of training, with the `folder` of the run, also the
    pairs that other runs have made for it."""
    opened = {name: open_split(recipe.data, name) for name in SPLITS}
    splits = {name: split for name, split in opened.items() if split is not None}
    if folder is not None and any(part.made for part in training_parts(recipe)):
        splits["train"] = open_training(recipe, folder)
    return splits


def fingerprints_of(recipe: Recipe, splits: Splits, folder: Path) -> dict[str, Fingerprint]:
    """The fingerprints of `tokenizer` and `data` in a folder, which keeps the hashes of files.

    Raises DataError for a missing source.
    """
    fingerprints = {name: split.fingerprint() for name, split in splits.items()}
    # Fields added later count only if they are used: older data stay up to date.
    tags = tags_of(recipe)
    tokenizer = {
        "format": FORMAT,
        "seed": recipe.seed,
        "tokenizer": _tokenizer_fingerprint(recipe, folder),
        "train": fingerprints["train"],
        **({"tags": tags} if tags else {}),
        **({"placeholders": recipe.data.placeholders} if recipe.data.placeholders else {}),
    }
    filters = [fingerprint_of(part.filters) for part in training_parts(recipe)]
    truncate = recipe.data.truncate
    data = {
        "tokenizer": tokenizer,
        "filters": filters if len(filters) > 1 else filters[0],
        "splits": fingerprints,
        **({} if truncate == Truncate() else {"truncate": asdict(truncate)}),
        **({"texts": True} if _reads_texts(recipe) else {}),
        **({} if recipe.model.copy == "none" else {"copy": recipe.model.copy}),
        **_features_fingerprint(recipe),
        **alignment_fingerprint(recipe),
    }
    hashes = Hashes(folder)
    return {"tokenizer": fingerprint(tokenizer, hashes), "data": fingerprint(data, hashes)}


def _check_tokenizers(recipe: Recipe, pair: TokenizerPair) -> None:
    """Raise DataError where tokenizers that were taken over do not suit the recipe."""
    check_symbols(recipe, pair)
    if not isinstance(recipe.tokenizer, FromRunTokenizer):
        return
    run = recipe.tokenizer.run
    if recipe.model.tied == "all" and not pair.is_shared:
        raise DataError(
            f"model.tied 'all' needs one tokenizer for both sides, and {run} has two; use 'output'"
        )
    wants = any(
        not isinstance(part, GeneratedData) and part.columns.source_features is not None
        for part in corpora_of(recipe.data)
    )
    if wants and not isinstance(untagged(pair.source), SourceFeatureTokenizer):
        raise DataError(
            f"data.columns.source_features needs a tokenizer of source features, and {run} has none"
        )


def _tokenizer_fingerprint(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The fingerprint of the tokenizer's section: what is taken over counts by its content.

    Raises DataError for a missing file.
    """
    whole = fingerprint_of(recipe.tokenizer)
    for place, side in sides_of(recipe.tokenizer).items():
        found = whole.get(place.partition(".")[2], whole)
        if isinstance(side, FromRunTokenizer):
            found["run"] = tokenizer_digest(taken_folder(folder, place))
        elif isinstance(side, SentencePieceTokenizer):
            try:
                found["model"] = file_fingerprint(Path(side.model))
            except DataError as error:
                raise DataError(f"{place}.model: {error}") from error
    return whole


def _features_fingerprint(recipe: Recipe) -> dict[str, Any]:
    """The fingerprint of feature files. Raises DataError for a missing file."""
    files = image_features_of(recipe.data)
    if not files:
        return {}
    found = [
        {
            "file": feature_stamp(Path(one.path), Path(one.ids) if one.ids else None),
            "ids": None if one.ids is None else file_fingerprint(Path(one.ids)),
            "allowed": [one.max_missing, one.max_unused],
        }
        for one in files
    ]
    return {"features": found, "has_text": has_source_text(recipe.data)}


def tags_of(recipe: Recipe) -> tuple[str, ...]:
    """The tags of the recipe's corpora, each once."""
    parts = training_parts(recipe)
    tags = [one for part in parts for one in (part.tag, *part.tags_within) if one]
    return tuple(dict.fromkeys(tags))


def _reads_texts(recipe: Recipe) -> bool:
    """Whether training reads texts, to sample their segmentation in every epoch or to compare
    outputs with them."""
    return any(sampling_alphas(recipe.tokenizer)) or recipe.train.metric_loss is not None


def _upgrade(folder: Path, fingerprints: Mapping[str, Fingerprint]) -> None:
    """Let what an earlier version has prepared be known by content from now on."""
    with suppress(OSError):
        for part, one in fingerprints.items():
            one.upgrade(folder / part)


def _finished(
    folder: Path, splits: Splits, fingerprints: Mapping[str, Fingerprint]
) -> PrepareReport | None:
    """The report in `folder` if everything is there and up to date, else None."""
    if not all(expected.matches(folder / part) for part, expected in fingerprints.items()):
        return None
    data = folder / "data"
    if not all((data / f"{name}.arrow").is_file() for name in splits):
        return None
    try:
        return PrepareReport.from_json((data / REPORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
