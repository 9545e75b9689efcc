"""The objective of sequence-to-sequence models, and when training has failed."""

import math
from typing import Any

from s2s.nn.batch import Batch
from s2s.nn.model import Seq2Seq
from s2s.recipe.train import Train
from s2s.tasks.seq2seq.loss import LossWeights, batch_loss
from s2s.tasks.seq2seq.scheduled_sampling import teacher_probability
from s2s.training.objective import BatchLoss


class Seq2SeqObjective:
    """Cross-entropy of the target tokens, and the losses that a recipe adds."""

    measures: tuple[str, ...] = ()
    """See `Objective`."""

    def __init__(self, recipe: Train, vocabulary: int | None = None) -> None:
        """`vocabulary` is the size V of the target vocabulary, which bounds the loss of a model
        that guesses; None where divergence is not checked."""
        self.recipe = recipe
        self.vocabulary = vocabulary

    def loss(self, model: Seq2Seq, batch: Batch, update: int, carried: Any = None) -> BatchLoss:
        """See `Objective`. Sentences are independent of each other, so nothing is carried on."""
        assert carried is None, "sentences carry no state"
        loss, readout_NE = batch_loss(model, batch, self.weights(update))
        return BatchLoss(loss.smoothed, loss.nll, readout_NE.detach().float().std())

    def weights(self, update: int) -> LossWeights:
        """The weights of the parts of the loss in an update."""
        recipe, sampling = self.recipe, self.recipe.scheduled_sampling
        guided = recipe.guided_alignment
        return LossWeights(
            smoothing=recipe.label_smoothing,
            coverage=recipe.coverage_loss if update > recipe.coverage_start else 0.0,
            doubly_stochastic=recipe.doubly_stochastic,
            guided_alignment=0.0 if guided is None else guided.weight,
            r_drop=recipe.r_drop,
            sampling=sampling,
            teacher=1.0 if sampling is None else teacher_probability(sampling, update),
            mix=recipe.distill.mix if recipe.distill is not None else 0.0,
        )

    def has_diverged(self, loss: float, nll: float) -> bool:
        """See `Objective`.

        A uniform guess costs log V a token, the coverage loss is at most its weight, and two passes
        that guess hardly differ; a model that stays worse than that is not training. Doubly
        stochastic attention and guided alignment have no bound, so with them the likelihood alone
        decides.
        """
        assert self.vocabulary is not None
        is_unbounded = self.recipe.doubly_stochastic or self.recipe.guided_alignment is not None
        value = nll if is_unbounded else loss
        added = self.recipe.coverage_loss + self.recipe.r_drop
        return not value < 1.5 * math.log(self.vocabulary) + 1.0 + added
