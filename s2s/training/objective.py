"""The objective of training and its validation, as the trainer sees them.

A task (`s2s.tasks`) has an objective and hands the trainer a function that validates; the trainer
knows of neither search nor metrics.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from s2s.metrics.scores import Scores
from s2s.nn.batch import Batch
from s2s.nn.model import Seq2Seq
from s2s.recipe.metrics import LOWER_IS_BETTER
from s2s.training.distributed.process_group import ProcessGroup


class BatchLoss(NamedTuple):
    """The loss of one pass over a batch. Tensors [] on the model's device."""

    loss: Tensor
    """Minimized, summed over the predictions of the batch."""
    nll: Tensor
    """Negative log-likelihood in nats, summed likewise: comparable between runs."""
    diagnostic: Tensor
    """A number without gradient for the log, averaged over passes: of a sequence-to-sequence model
    the standard deviation of its readouts."""
    carried: Any = None
    """State that the next batch continues from, as in truncated backpropagation through time."""
    measures: Tensor | None = None
    """Of an objective with `measures`: the number of pairs that it has measured, then the sums of
    these over them. None where there are none."""


REHEARSAL = 0
"""The number of no update: the batch-size finder asks for the loss that takes most memory."""


class Objective(Protocol):
    """A loss and its bounds."""

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what it measures of pairs, for the log; empty for nothing."""
        ...

    def loss(self, model: Seq2Seq, batch: Batch, update: int, carried: Any = None) -> BatchLoss:
        """The loss of update number `update` (from 1, or REHEARSAL), from the state that a batch
        before it left.

        The result is a sum over predictions, so that batches of any size add up to one update.
        """
        ...

    def has_diverged(self, loss: float, nll: float) -> bool:
        """Whether training has failed: `loss` and `nll` are averages over recent predictions."""
        ...


@dataclass(frozen=True)
class Validation:
    """The results of a validation."""

    nll: float
    """Negative log-likelihood per target token, in nats, end of sentence included."""
    scores: Scores
    """Scores of greedy search, as `s2s evaluate --search greedy` computes them."""

    @property
    def perplexity(self) -> float:
        """exp(nll), infinite where that overflows."""
        return math.exp(self.nll) if self.nll < 700 else math.inf

    def score(self, name: str) -> float:
        """The score that `train.best` names, negated where lower is better."""
        value = self.nll if name == "loss" else self.scores.value(name)
        return -value if name in LOWER_IS_BETTER else value

    def as_json(self) -> dict[str, Any]:
        """For the log."""
        return {"nll": self.nll, "perplexity": self.perplexity, "scores": self.scores.as_json()}


Validate = Callable[[Seq2Seq, ProcessGroup], Validation]
"""Validates a model in evaluation mode; the processes of a group share the work and all get the
result."""
