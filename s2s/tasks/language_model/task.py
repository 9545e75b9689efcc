"""Language models: a decoder without a source, over sentences or over one stream of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from s2s.data.store import Corpus
from s2s.inference.load import build_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.special import EOS
from s2s.tasks.language_model.objective import StreamObjective
from s2s.tasks.language_model.validation import validate
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.tasks.seq2seq.task import unigram
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.objective import Validate


@dataclass(frozen=True)
class LanguageModelTask:
    """A recipe whose model predicts each token of a text from those before it."""

    recipe: Recipe
    tokenizers: TokenizerPair

    def objective(self, train: Corpus) -> Seq2SeqObjective:
        """Cross-entropy of the tokens, the end of each sentence included."""
        settings, size = self.recipe.train, self.tokenizers.target.size
        kind = Seq2SeqObjective if settings.stream is None else StreamObjective
        return kind(settings, size)

    def initial_model(self, train: Corpus) -> Seq2Seq:
        """See `Task`. The output bias starts at the logarithm of each token's frequency."""
        torch.manual_seed(self.recipe.seed)
        frequencies_V = unigram(train, self.tokenizers.target.size, EOS)
        return build_model(self.recipe, self.tokenizers, frequencies_V)

    def warnings(self, train: Corpus, *, has_validation: bool) -> Iterator[str]:
        """See `Task`."""
        if not has_validation:
            yield (
                "no validation text: training ignores train.patience and runs to its end, and the "
                "last checkpoint counts as the best"
            )

    def validation(self, corpus: Corpus, train: Corpus) -> Validate:
        """See `Task`."""
        return partial(validate, corpus, self.tokenizers, self.recipe)
