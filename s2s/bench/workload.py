"""What is trained and searched: a recipe's model on drawn sentences, a run's on its own."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from s2s import pipeline
from s2s.bench.report import Sizes
from s2s.data.prepare import open_corpus
from s2s.data.sources import SplitName
from s2s.data.store import Corpus, Ids
from s2s.errors import UsageError
from s2s.nn.model import Seq2Seq
from s2s.nn.packed import Packed
from s2s.recipe import (
    CharacterTokenizer,
    Recipe,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    WordTokenizer,
    corpora_of,
    features_of,
)
from s2s.run import Run
from s2s.text.copying import NO_TARGET
from s2s.text.special import EOS, SPECIAL_PIECES
from s2s.train.device import choose_precision
from s2s.train.loop import TIME_MULTIPLE, unigram
from s2s.train.rehearsal import rehearse, with_batch_tokens
from s2s.train.state import TrainingState

PAIRS = 20_000
"""Sentence pairs drawn: enough for batches to be of one length, as in training."""

LENGTHS = ((2.657, 0.359), (2.633, 0.320))
"""Mean and standard deviation of the logarithm of the number of tokens, source and target:
Multi30k's 29,000 training pairs, German to English, in 8,000 unigram pieces."""

CORRELATION = 0.838
"""Of the two logarithms, there."""

TOKENS = 20
"""Source tokens of a sentence to be searched, on average and at most: longer ones are fewer, lest a
model of characters take ten minutes."""

CHARACTERS = 4.4
"""Characters of a piece, there: where tokens are characters, sentences are so much longer."""

ASSUMED_CHARACTERS, ASSUMED_WORDS = 100, 10_000
"""Vocabularies that only the data would tell."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and the sentences it is measured with."""

    recipe: Recipe
    model: Seq2Seq
    """In evaluation mode, on its device; not to be changed."""
    corpus: Corpus
    """To train on."""
    held_out: Corpus
    """To search outputs for."""
    run: Run | None
    """Where the model comes from; None for random weights, which end no sentence by themselves."""

    @property
    def sizes(self) -> Sizes:
        """For the report."""
        run, embedding = self.run, self.model.source_embedding
        assert embedding is not None, "a text is read"
        return Sizes(
            recipe=self.recipe.name or "recipe" if run is None else str(run.folder),
            data="drawn, lengths as in Multi30k" if run is None else "the run's own",
            parameters=sum(p.numel() for p in self.model.parameters()),
            source_vocabulary=embedding.num_embeddings,
            target_vocabulary=self.model.target_vocabulary,
            batch_tokens=self.recipe.train.fixed_batch_tokens,
            source_length=round(float(self.corpus.source_lengths.mean()), 2),
            target_length=round(float(self.corpus.target_lengths.mean()), 2),
        )

    def sources(self, count: int) -> list[list[int]]:
        """The first sources to be searched: `count`, or fewer where they are long."""
        values, offsets = self.held_out.source_values, self.held_out.source_offsets
        ends = np.cumsum(self.held_out.source_lengths[:count])
        places = range(max(1, int(np.searchsorted(ends, count * TOKENS, side="right"))))
        return [values[offsets[i] : offsets[i + 1]].tolist() for i in places]


def drawn_workload(recipe: Recipe, device: torch.device) -> Workload:
    """Random weights of the recipe's sizes, random tokens, lengths as in a real corpus.

    A function of the recipe and its seed. Raises UsageError for a model that reads features.
    """
    _refuse_features(recipe, "the recipe")
    source, target = (_vocabulary(side) for side in _sides(recipe))
    corpus = drawn_corpus(recipe)
    table = None
    if recipe.model.copy != "none":
        ids = np.arange(source)
        table = torch.from_numpy(np.where(ids < target, ids, NO_TARGET))
    torch.manual_seed(recipe.seed)
    model = Seq2Seq(recipe.model, source, target, unigram(corpus, target, EOS), table)
    return Workload(
        recipe=_with_tokens(recipe, model.to(device), corpus),
        model=model.eval(),
        corpus=corpus,
        held_out=corpus,
        run=None,
    )


def run_workload(run: Run, device: torch.device) -> Workload:
    """A run's best checkpoint, training on its training pairs and searching outputs for the
    sources of its validation pairs, or of test or training pairs where there are none.

    Raises RunError where the run has no checkpoint or no prepared data, UsageError for a model that
    reads features.
    """
    _refuse_features(run.recipe, str(run.folder))
    scorer = pipeline.load_translator(run, device=str(device)).scorer
    assert isinstance(scorer, Packed)
    splits: tuple[SplitName, ...] = ("validation", "test", "train")
    there = [name for name in splits if (run.data_folder / f"{name}.arrow").exists()]
    begun = [event for event in run.read_events() if event["event"] == "start"]
    recipe = run.recipe
    if recipe.train.batch_tokens == "auto":
        recipe = with_batch_tokens(recipe, begun[-1]["memory"]["batch_tokens"])
    return Workload(
        recipe=recipe,
        model=scorer.model,
        corpus=open_corpus(run.folder, "train"),
        held_out=open_corpus(run.folder, there[0]),
        run=run,
    )


def _with_tokens(recipe: Recipe, model: Seq2Seq, corpus: Corpus) -> Recipe:
    """With the `batch_tokens` that training would find where the recipe leaves them to it."""
    if recipe.train.batch_tokens != "auto":
        return recipe
    state = TrainingState(model.train(), recipe.train)
    precision = choose_precision(recipe.train.precision, model.output.bias.device)
    found = rehearse(state, recipe, corpus, precision, multiple=TIME_MULTIPLE)
    return with_batch_tokens(recipe, found.batch_tokens)


def _refuse_features(recipe: Recipe, place: str) -> None:
    """Raises UsageError for a model of what is not measured."""
    if features_of(recipe.data):
        raise UsageError(
            f"{place}: expected a model of text, found one of features (data.features)"
        )


def drawn_corpus(recipe: Recipe) -> Corpus:
    """`PAIRS` pairs of random tokens, the two lengths jointly log-normal."""
    random = np.random.default_rng(recipe.seed)
    first, other = random.standard_normal((2, PAIRS))
    normals = (first, CORRELATION * first + np.sqrt(1 - CORRELATION**2) * other)
    sides: list[tuple[Ids, NDArray[np.int64]]] = []
    for place, side in enumerate(_sides(recipe)):
        mean, deviation = LENGTHS[place]
        tokens = np.exp(mean + deviation * normals[place])
        if isinstance(side, CharacterTokenizer):
            tokens *= CHARACTERS
        lengths = np.clip(np.rint(tokens), 1, _longest(recipe)[place]).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = (len(SPECIAL_PIECES), _vocabulary(side))
        sides.append((random.integers(*ids, int(offsets[-1]), dtype=np.int32), offsets))
    return Corpus(*sides[0], *sides[1])


def _sides(recipe: Recipe) -> tuple[SideTokenizer, SideTokenizer]:
    tokenizer = recipe.tokenizer
    if isinstance(tokenizer, SeparateTokenizers):
        return tokenizer.source, tokenizer.target
    return tokenizer, tokenizer


def _longest(recipe: Recipe) -> tuple[int, int]:
    """Most tokens of a source and of a target that training keeps."""
    most = max(part.filters.max_length for part in corpora_of(recipe.data))
    truncate = recipe.data.truncate
    return truncate.source or most, truncate.target or most


def _vocabulary(tokenizer: SideTokenizer) -> int:
    match tokenizer:
        case SubwordTokenizer():
            return tokenizer.vocabulary
        case CharacterTokenizer():
            return ASSUMED_CHARACTERS
        case WordTokenizer():
            return tokenizer.vocabulary or ASSUMED_WORDS
        case _:
            assert_never(tokenizer)
