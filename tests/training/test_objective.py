"""The seam between training and tasks: the updater minimizes whatever objective it is given."""

import math
from typing import Any

import pytest
import torch

from s2s.data.batches import collate
from s2s.data.store import Corpus
from s2s.nn.batch import Batch
from s2s.nn.model import Seq2Seq
from s2s.recipe.train import Train
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.objective import BatchLoss
from s2s.training.update import Updater
from tests.training.toys import state_of


class HalfOfTheWeights:
    """sum(w^2) / 2 of the output bias, whatever the batch: its gradient is the bias itself."""

    measures = ()

    def __init__(self) -> None:
        self.updates: list[int] = []

    def loss(self, model: Seq2Seq, batch: Batch, update: int, carried: Any = None) -> BatchLoss:
        self.updates.append(update)
        loss = model.output.bias.square().sum() / 2
        return BatchLoss(loss, loss.detach() * 3, torch.tensor(0.25))

    def has_diverged(self, loss: float, nll: float) -> bool:
        return False


def test_the_updater_minimizes_the_objective_it_is_given(corpus: Corpus) -> None:
    state, objective = state_of(Train(clip_norm=None)), HalfOfTheWeights()
    with torch.no_grad():
        state.model.output.bias.copy_(torch.linspace(-1.0, 1.0, 15))
    bias = state.model.output.bias.detach().clone()
    batch = collate(corpus, torch.arange(3).numpy())
    update = Updater(state, objective, 1, "fp32", 100)([batch], tokens=5)
    expected = float(bias.square().sum() / 2)
    assert float(update.smoothed) == pytest.approx(expected)
    assert float(update.nll) == pytest.approx(3 * expected)
    assert float(update.readout_deviation) == 0.25
    assert float(update.gradient_norm) == pytest.approx(float(bias.norm()) / 5, rel=1e-5)
    assert objective.updates == [1]


@pytest.mark.parametrize(
    ("added", "bound"),
    [
        ({}, 1.5 * math.log(15) + 1.0),
        ({"coverage_loss": 0.5}, 1.5 * math.log(15) + 1.5),
        ({"r_drop": 2.0}, 1.5 * math.log(15) + 3.0),
    ],
)
def test_a_model_that_stays_worse_than_a_guess_has_diverged(added: Any, bound: float) -> None:
    objective = Seq2SeqObjective(Train(**added), 15)
    assert not objective.has_diverged(bound - 1e-6, 100.0)
    assert objective.has_diverged(bound + 1e-6, 0.0)
    assert objective.has_diverged(math.nan, 0.0)


def test_doubly_stochastic_attention_has_no_bound_so_the_likelihood_decides() -> None:
    objective = Seq2SeqObjective(Train(doubly_stochastic=1.0), 15)
    assert not objective.has_diverged(1e9, 1.0)
    assert objective.has_diverged(0.0, 6.0)


def test_the_coverage_loss_starts_when_the_recipe_says() -> None:
    objective = Seq2SeqObjective(Train(coverage_loss=0.5, coverage_start=10))
    assert [objective.weights(update).coverage for update in (1, 10, 11)] == [0.0, 0.0, 0.5]
