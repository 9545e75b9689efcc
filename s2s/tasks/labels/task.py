"""Sequence classification and sequence labelling: an encoder and a softmax over labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from s2s.data.store import Corpus
from s2s.data.training_targets import TrainingTargets
from s2s.inference.load import build_model
from s2s.nn.label_scores import FIRST_LABEL
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.special import EOS
from s2s.tasks.labels.objective import LabelObjective
from s2s.tasks.labels.validation import validate
from s2s.tasks.seq2seq.task import unigram
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.objective import Validate


@dataclass(frozen=True)
class LabelTask:
    """A recipe whose model labels texts or their words."""

    recipe: Recipe
    tokenizers: TokenizerPair

    def objective(self, train: Corpus) -> LabelObjective:
        """Cross-entropy of the labels, with a CRF of their sequence."""
        labels = self.tokenizers.target.size - FIRST_LABEL
        is_one = self.recipe.task == "classify"
        return LabelObjective(self.recipe.train, labels, is_one=is_one)

    def initial_model(self, train: Corpus) -> Seq2Seq:
        """See `Task`. The output bias starts at the logarithm of each label's frequency."""
        torch.manual_seed(self.recipe.seed)
        frequencies_V = unigram(train, self.tokenizers.target.size, EOS)
        return build_model(self.recipe, self.tokenizers, frequencies_V)

    def warnings(self, train: Corpus, *, has_validation: bool) -> Iterator[str]:
        """See `Task`."""
        labels = self.tokenizers.target.size - FIRST_LABEL
        if labels < 2:
            yield "the training data have one label alone; every output will be it"
        if self.recipe.task == "classify" and labels > len(train) / 2:
            yield (
                f"{labels:,} labels in {len(train):,} texts: most occur once, as if each target "
                "were a text of its own (data.columns.target)"
            )
        if not has_validation:
            yield (
                "no validation data: training ignores train.patience and runs to its end, and the "
                "last checkpoint counts as the best"
            )

    def validation(self, corpus: Corpus, train: Corpus) -> Validate:
        """See `Task`."""
        targets = TrainingTargets(lambda: train, self.tokenizers.target, lowercase=False)
        return partial(validate, corpus, self.tokenizers, self.recipe, targets)
