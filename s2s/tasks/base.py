"""A task, as the pipeline sees it."""

from collections.abc import Iterator
from typing import Protocol

from s2s.data.store import Corpus
from s2s.nn.model import Seq2Seq
from s2s.training.objective import Objective, Validate


class Task(Protocol):
    """The model of a recipe, its loss and its validation."""

    def objective(self, train: Corpus) -> Objective:
        """The loss that training minimizes on `train`."""
        ...

    def initial_model(self, train: Corpus) -> Seq2Seq:
        """An untrained model: a function of the recipe's seed and of the training data."""
        ...

    def warnings(self, train: Corpus, *, has_validation: bool) -> Iterator[str]:
        """A line for every setting that the data leave without effect."""
        ...

    def validation(self, corpus: Corpus, train: Corpus) -> Validate:
        """A function that validates a model on `corpus`; `train` are the training data."""
        ...
