"""The workload: a recipe's model on random sentences, or a run's model on its own."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from s2s import pipeline
from s2s.bench.random_features import IMAGES, random_features
from s2s.bench.report import FeatureSizes, Sizes
from s2s.data.features.lookup import FeatureRows
from s2s.data.features.store import FeatureStore
from s2s.data.preparation.prepare import open_corpus
from s2s.data.sources.split import SplitName
from s2s.data.store import Corpus, Ids
from s2s.errors import RunError, UsageError
from s2s.nn.device import choose_precision
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.inference_model import InferenceModel
from s2s.nn.model import Seq2Seq
from s2s.recipe.data import corpora_of, has_source_text
from s2s.recipe.label_rules import DECODERS
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    FromRunTokenizer,
    SentencePieceTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    WordTokenizer,
)
from s2s.run.directory import Run
from s2s.special import EOS, SPECIAL_PIECES
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.tasks.seq2seq.task import unigram
from s2s.text.extended_vocabulary import NO_TARGET
from s2s.text.source_features import SEPARATOR
from s2s.training.batch_size_finder import find_batch_size, with_batch_tokens
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE

PAIRS = 20_000
"""Random sentence pairs: enough for batches of one length, as in training."""

LENGTHS = ((2.657, 0.359), (2.633, 0.320))
"""Mean and standard deviation of the logarithm of the number of tokens, source and target:
Multi30k's 29,000 training pairs, German to English, in 8,000 unigram pieces."""

CORRELATION = 0.838
"""The correlation of the two logarithms in that corpus."""

TOKENS = 20
"""The most mean source tokens of sentences to search. Of longer ones there are fewer, or a model of
characters would take ten minutes."""

CHARACTERS = 4.4
"""Characters of a piece in that corpus: sentences of characters are so much longer."""

WORD = "a"
"""The text of a source that must not be empty."""

ASSUMED_CHARACTERS, ASSUMED_WORDS, ASSUMED_PIECES = 100, 10_000, 8_000
"""Vocabulary sizes that depend on the data."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and the sentences it is measured with."""

    recipe: Recipe
    model: Seq2Seq
    """In evaluation mode, on its device; read-only."""
    corpus: Corpus
    """The pairs to train on."""
    held_out: Corpus
    """The pairs to search outputs for."""
    run: Run | None
    """The run of the model; None for random weights, which predict no end of sentence."""

    @property
    def sizes(self) -> Sizes:
        """The sizes for the report."""
        run, embedding = self.run, self.model.source_embedding
        return Sizes(
            recipe=self.recipe.name or "recipe" if run is None else str(run.folder),
            data="drawn, lengths as in Multi30k" if run is None else "the run's own",
            features=[
                FeatureSizes(width=store.width, regions=round(float(regions), 2))
                for store, regions in zip(self._stores, self._regions, strict=True)
            ],
            parameters=sum(p.numel() for p in self.model.parameters()),
            source_vocabulary=0 if embedding is None else embedding.num_embeddings,
            target_vocabulary=self.model.target_vocabulary,
            batch_tokens=self.recipe.train.fixed_batch_tokens,
            source_length=round(float(self.corpus.source_lengths.mean()), 2),
            target_length=round(float(self.corpus.target_lengths.mean()), 2),
        )

    @property
    def _stores(self) -> tuple[FeatureStore, ...]:
        return () if self.corpus.features is None else self.corpus.features.stores

    @property
    def _regions(self) -> NDArray[np.float64]:
        """Mean regions of a training pair in each feature file."""
        _, regions_NF = read_lengths(self.corpus, np.arange(len(self.corpus)))
        mean_F: NDArray[np.float64] = regions_NF.mean(axis=0)
        return mean_F

    def sources(self, count: int) -> list[list[int]]:
        """The first sources to search: `count`, or fewer if they are long."""
        values, offsets = self.held_out.source_values, self.held_out.source_offsets
        ends = np.cumsum(self.held_out.source_lengths[:count])
        places = range(max(1, int(np.searchsorted(ends, count * TOKENS, side="right"))))
        return [values[offsets[i] : offsets[i + 1]].tolist() for i in places]

    def image_features_of(self, count: int) -> FeatureRows | None:
        """The image features of the first `count` sources; None if the model reads none."""
        lines, rows_NF = self.held_out.features, self.held_out.rows_NF
        return None if lines is None or rows_NF is None else FeatureRows(lines, rows_NF[:count])

    @property
    def line(self) -> str:
        """A line that `s2s translate` can translate."""
        lines, rows_NF = self.held_out.features, self.held_out.rows_NF
        if lines is None or rows_NF is None:
            return WORD
        ids = [""] * lines.num_ids
        for store, column, row in zip(lines.stores, lines.columns, rows_NF[0], strict=True):
            ids[column] = store.ids[int(row)]
        return SEPARATOR.join([*([WORD] if lines.has_text else []), *ids])


def read_lengths(
    corpus: Corpus, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lengths of pairs' sources: int64 [N] tokens, end of sentence included (0 without text),
    and int64 [N, F] regions of each feature file."""
    sources_N = corpus.source_lengths[pairs] + 1
    if corpus.features is None or corpus.rows_NF is None:
        return sources_N, np.zeros((len(pairs), 0), dtype=np.int64)
    regions_NF = corpus.features.regions(corpus.rows_NF[pairs])
    return sources_N * corpus.features.has_text, regions_NF


def workload_of(subject: Recipe | Run, device: torch.device) -> Workload:
    """The workload of a recipe or a run; see `random_workload` and `run_workload`.

    Raises UsageError for a model of labels, which writes no sequence step by step.
    """
    task = subject.recipe.task if isinstance(subject, Run) else subject.task
    if task in DECODERS:
        raise UsageError(
            f"task '{task}': 's2s bench' measures models that write sequences; 's2s train' prints "
            "the speed of this one"
        )
    if isinstance(subject, Run):
        return run_workload(subject, device)
    return random_workload(subject, device)


def random_workload(recipe: Recipe, device: torch.device) -> Workload:
    """Random weights of the recipe's sizes and random tokens, with the lengths of a real corpus.

    A function of the recipe and its seed, and of the shapes of existing feature files. Raises
    DataError as `random_features` does.
    """
    source, target = (assumed_vocabulary(side) for side in sides_of(recipe))
    corpus = random_corpus(recipe)
    table = None
    if recipe.model.copy != "none":
        ids = np.arange(source)
        table = torch.from_numpy(np.where(ids < target, ids, NO_TARGET))
    torch.manual_seed(recipe.seed)
    stores = () if corpus.features is None else corpus.features.stores
    model = Seq2Seq(
        recipe.model,
        source if has_source_text(recipe.data) else None,
        target,
        unigram(corpus, target, EOS),
        table,
        features=[FeatureShape(store.width, store.max_regions) for store in stores],
    )
    return Workload(
        recipe=_with_tokens(recipe, model.to(device), corpus),
        model=model.eval(),
        corpus=corpus,
        held_out=corpus,
        run=None,
    )


def run_workload(run: Run, device: torch.device) -> Workload:
    """A run's best checkpoint, with its training pairs to train on, and its validation pairs
    (without them test or training pairs) to search outputs for.

    Raises RunError if the run has no checkpoint or no prepared data, DataError for features that
    have changed.
    """
    translator = pipeline.load_translator(run, device=str(device))
    scorer, features = translator.scorer, translator.features
    assert isinstance(scorer, InferenceModel)
    splits: tuple[SplitName, ...] = ("validation", "test", "train")
    found = [name for name in splits if (run.data_folder / f"{name}.arrow").exists()]
    starts = [event for event in run.read_events() if event["event"] == "start"]
    recipe = run.recipe
    if recipe.train.batch_tokens == "auto":
        found_size = (starts[-1].get("memory") or {}).get("batch_tokens") if starts else None
        if not isinstance(found_size, int):
            raise RunError(f"{run.metrics_path}: no start of a training with its batch size")
        recipe = with_batch_tokens(recipe, found_size)
    return Workload(
        recipe=recipe,
        model=scorer.model,
        corpus=open_corpus(run.folder, "train", features),
        held_out=open_corpus(run.folder, found[0], features),
        run=run,
    )


def _with_tokens(recipe: Recipe, model: Seq2Seq, corpus: Corpus) -> Recipe:
    """The recipe with the `batch_tokens` that training would find, if they are `auto`."""
    if recipe.train.batch_tokens != "auto":
        return recipe
    state = TrainingState(model.train(), recipe.train)
    precision = choose_precision(recipe.train.precision, model.output.bias.device)
    objective = Seq2SeqObjective(recipe.train)
    found = find_batch_size(state, objective, recipe, corpus, precision, multiple=TIME_MULTIPLE)
    return with_batch_tokens(recipe, found.batch_tokens)


def random_corpus(recipe: Recipe) -> Corpus:
    """`PAIRS` pairs of random tokens, the two lengths jointly log-normal, and random features."""
    random = np.random.default_rng(recipe.seed)
    first, other = random.standard_normal((2, PAIRS))
    normals = (first, CORRELATION * first + np.sqrt(1 - CORRELATION**2) * other)
    sides: list[tuple[Ids, NDArray[np.int64]]] = []
    for place, side in enumerate(sides_of(recipe)):
        mean, deviation = LENGTHS[place]
        tokens = np.exp(mean + deviation * normals[place])
        if isinstance(side, CharacterTokenizer):
            tokens *= CHARACTERS
        lengths = np.clip(np.rint(tokens), 1, _longest(recipe)[place]).astype(np.int64)
        if place == 0 and not has_source_text(recipe.data):
            lengths[:] = 0
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = (len(SPECIAL_PIECES), assumed_vocabulary(side))
        sides.append((random.integers(*ids, int(offsets[-1]), dtype=np.int32), offsets))
    features = random_features(recipe)
    if features is None:
        return Corpus(*sides[0], *sides[1])
    rows_NF = random.integers(IMAGES, size=(PAIRS, len(features.stores)))
    return Corpus(*sides[0], *sides[1], rows_NF=rows_NF, features=features)


def sides_of(recipe: Recipe) -> tuple[SideTokenizer, SideTokenizer]:
    """The tokenizers of source and target."""
    tokenizer = recipe.tokenizer
    if isinstance(tokenizer, SeparateTokenizers):
        return tokenizer.source, tokenizer.target
    return tokenizer, tokenizer


def _longest(recipe: Recipe) -> tuple[int, int]:
    """The most tokens of a source and of a target that training keeps."""
    most = max(part.filters.max_length for part in corpora_of(recipe.data))
    truncate = recipe.data.truncate
    return truncate.source or most, truncate.target or most


def assumed_vocabulary(tokenizer: SideTokenizer) -> int:
    """The size of a vocabulary that the recipe gives; an assumed one where it depends on data."""
    match tokenizer:
        case SubwordTokenizer():
            return tokenizer.vocabulary
        case CharacterTokenizer():
            return ASSUMED_CHARACTERS
        case FromRunTokenizer() | SentencePieceTokenizer():
            return ASSUMED_PIECES
        case WordTokenizer():
            return tokenizer.vocabulary or ASSUMED_WORDS
        case _:
            assert_never(tokenizer)
