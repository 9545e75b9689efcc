"""Translation, summarization and captioning: sequences out of text, image features or both."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from s2s.data.store import Corpus
from s2s.data.training_targets import TrainingTargets
from s2s.inference.load import build_model
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.special import EOS
from s2s.tasks.seq2seq.metric_objective import MetricObjective
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.tasks.seq2seq.validation import validate
from s2s.tasks.seq2seq.warnings import recipe_warnings
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.objective import Objective, Validate


@dataclass(frozen=True)
class Seq2SeqTask:
    """A recipe whose model reads a source and writes a target."""

    recipe: Recipe
    tokenizers: TokenizerPair

    def objective(self, train: Corpus) -> Objective:
        """Cross-entropy under teacher forcing, and what the recipe adds to it, or a metric.

        Raises UsageError for a tokenization of the metric without its package.
        """
        if self.recipe.train.metric_loss is not None:
            return MetricObjective(self.recipe, self.tokenizers, train)
        return Seq2SeqObjective(self.recipe.train, self.tokenizers.target.size)

    def initial_model(self, train: Corpus) -> Seq2Seq:
        """See `Task`. The output bias starts at the logarithm of each token's frequency."""
        torch.manual_seed(self.recipe.seed)
        frequencies_V = unigram(train, self.tokenizers.target.size, EOS)
        stores = () if train.features is None else train.features.stores
        shapes = [FeatureShape(store.width, store.max_regions) for store in stores]
        return build_model(self.recipe, self.tokenizers, frequencies_V, features=shapes)

    def warnings(self, train: Corpus, *, has_validation: bool) -> Iterator[str]:
        """See `Task`."""
        return recipe_warnings(self.recipe, train, has_validation=has_validation)

    def validation(self, corpus: Corpus, train: Corpus) -> Validate:
        """See `Task`."""
        targets = TrainingTargets(
            lambda: train, self.tokenizers.target, lowercase=self.recipe.scoring.lowercase
        )
        return partial(validate, corpus, self.tokenizers, self.recipe, targets)


def unigram(corpus: Corpus, vocabulary: int, end: int) -> Tensor:
    """Relative frequencies float32 [V] of target tokens, add-one smoothed.

    Every target counts one `end` of sentence. Ids from `vocabulary` on, which the model can only
    copy, count for nothing.
    """
    counts = torch.ones(vocabulary, dtype=torch.float64)
    for chunk in _chunks(corpus.target_values):
        counts += torch.bincount(chunk[chunk < vocabulary], minlength=vocabulary)
    counts[end] += len(corpus)
    return (counts / counts.sum()).float()


def _chunks(values: Any, size: int = 1 << 22) -> Iterable[Tensor]:
    for start in range(0, len(values), size):
        yield torch.from_numpy(values[start : start + size].astype("int64"))
