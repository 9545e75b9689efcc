"""One update and the state it changes: gradients, averages, what is saved."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from s2s.data.batches import collate
from s2s.data.store import Corpus
from s2s.errors import RunError
from s2s.recipe.model import Dropout
from s2s.recipe.train import Train
from s2s.special import PAD
from s2s.tasks.seq2seq.loss import LossWeights, batch_loss
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.state import Position, TrainingState
from s2s.training.update import Updater
from tests.training.toys import state_of


def updater(state: TrainingState, seed: int = 1) -> Updater:
    return Updater(state, Seq2SeqObjective(state.recipe), seed, "fp32", 100)


def batches(corpus: Corpus, *sizes: int) -> list:
    """Consecutive pairs of the corpus, so many in each batch."""
    rows = torch.arange(sum(sizes)).split(list(sizes))
    return [collate(corpus, pairs.numpy()) for pairs in rows]


def gradients_at_step(state: TrainingState, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Filled with the gradients that the optimizer is given at the next update."""
    seen: dict[str, torch.Tensor] = {}

    def step() -> None:
        seen.update({name: p.grad.clone() for name, p in state.parameters.items()})

    monkeypatch.setattr(state.optimizer, "step", step)
    return seen


@pytest.mark.parametrize("r_drop", [0.0, 2.0])
def test_accumulated_batches_are_one_batch(corpus: Corpus, r_drop: float, monkeypatch) -> None:
    """Batches of unequal size: the loss is an average over tokens, not over batches."""
    found = []
    for sizes in ((24,), (7, 17), (1, 11, 12)):
        state = state_of(Train(clip_norm=None, r_drop=r_drop))
        seen = gradients_at_step(state, monkeypatch)
        update = updater(state)(batches(corpus, *sizes))
        found.append((seen, update))
    (whole, one), *others = found
    for parts, update in others:
        assert update.tokens == one.tokens
        torch.testing.assert_close(update.smoothed, one.smoothed)
        torch.testing.assert_close(update.gradient_norm, one.gradient_norm)
        for name, gradient in parts.items():
            torch.testing.assert_close(gradient, whole[name], msg=lambda m, n=name: f"{n}: {m}")


def test_the_gradient_is_the_derivative_of_the_loss_per_token(corpus: Corpus, monkeypatch) -> None:
    state = state_of(Train(clip_norm=None, label_smoothing=0.1))
    seen = gradients_at_step(state, monkeypatch)
    (batch,) = batches(corpus, 5)
    updater(state)([batch])
    logits_BTV = state.model(batch.source, batch.source_lengths, batch.target_input)
    loss = torch.nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1),
        batch.target_output.flatten(),
        ignore_index=0,
        label_smoothing=0.1,
    )
    expected = torch.autograd.grad(loss, list(state.parameters.values()))
    for name, gradient in zip(state.parameters, expected, strict=True):
        torch.testing.assert_close(seen[name], gradient, atol=1e-6, rtol=1e-4)


def test_long_gradients_are_clipped_and_their_norm_reported(corpus: Corpus, monkeypatch) -> None:
    norms = {}
    for limit in (None, 0.01, 1e6):
        state = state_of(Train(clip_norm=limit))
        seen = gradients_at_step(state, monkeypatch)
        reported = updater(state)(batches(corpus, 9)).gradient_norm
        norms[limit] = (torch.stack([g.norm() for g in seen.values()]).norm(), reported)
    applied, reported = norms[0.01]
    torch.testing.assert_close(applied, torch.tensor(0.01), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(reported, norms[None][0])
    torch.testing.assert_close(norms[1e6][0], norms[None][0])


def test_randomness_is_a_function_of_seed_and_update(corpus: Corpus) -> None:
    dropout = Dropout(word=0.2)

    def loss(seed: int, update: int) -> float:
        state = state_of(Train(), dropout)
        torch.rand(update * 7)  # what was drawn before does not matter
        state.position.update = update
        return updater(state, seed)(batches(corpus, 9)).smoothed.item()

    assert loss(1, 5) == loss(1, 5)
    assert len({loss(1, 5), loss(1, 6), loss(2, 5)}) == 3


def test_the_average_is_an_exponential_one_that_warms_up(corpus: Corpus) -> None:
    state = state_of(Train(average=0.4))
    step = updater(state)
    name = "output.bias"
    expected = state.parameters[name].detach().clone()
    for number, batch in enumerate(batches(corpus, 8, 8, 8, 8, 8, 8), start=1):
        step([batch])
        decay = min(0.4, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * state.parameters[name].detach()
        assert state.average is not None
        torch.testing.assert_close(state.average[name], expected)
    assert not torch.equal(state.weights()[name], state.parameters[name])
    torch.testing.assert_close(state.weights()[name], expected)


def test_the_averaged_model_is_in_place_for_a_block_alone(corpus: Corpus) -> None:
    state = state_of(Train(average=0.9))
    for batch in batches(corpus, 8, 8):
        updater(state)([batch])
    assert state.average is not None
    before = {name: p.detach().clone() for name, p in state.parameters.items()}
    average = {name: tensor.clone() for name, tensor in state.average.items()}
    with pytest.raises(KeyError), state.averaged() as model:
        assert not model.training
        assert all(torch.equal(p, average[name]) for name, p in model.named_parameters())
        raise KeyError
    assert state.model.training
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())
    assert all(torch.equal(state.average[name], average[name]) for name in average)


@pytest.mark.parametrize("average", [0.0, 0.7])
def test_a_restored_state_continues_bit_for_bit(corpus: Corpus, average: float) -> None:
    recipe = Train(average=average)
    first, rest = batches(corpus, 8, 8), batches(corpus, 11, 5)
    straight = state_of(recipe, Dropout())
    for batch in first:
        updater(straight)([batch])
    saved = straight.weights(), straight.training_tensors(), straight.training_meta()
    copies = [{name: tensor.clone() for name, tensor in part.items()} for part in saved[:2]]

    resumed = state_of(recipe, Dropout(), seed=99)
    resumed.restore(*copies, saved[2])
    for state in (straight, resumed):
        for batch in rest:
            updater(state)([batch])
    assert resumed.position == straight.position
    for ours, theirs in (
        (resumed.weights(), straight.weights()),
        (resumed.training_tensors(), straight.training_tensors()),
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def without(name: str) -> Callable[[dict], dict]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def test_a_state_of_another_model_is_refused() -> None:
    state = state_of(Train())
    good = state.weights(), state.training_tensors(), state.training_meta()
    with pytest.raises(RunError, match=r"training state: expected weights 'output.bias', found no"):
        state.restore(without("output.bias")(good[0]), good[1], good[2])
    wide = {**good[0], "output.bias": torch.zeros(99)}
    with pytest.raises(RunError, match=r"'output.bias' should be \[15\], found \[99\]"):
        state.restore(wide, good[1], good[2])


@pytest.mark.parametrize("meta", [{}, {"update": 1}, {**dataclasses.asdict(Position()), "x": 1}])
def test_a_position_of_another_version_is_refused(meta: dict) -> None:
    with pytest.raises(RunError, match="not one of this version; start over: --restart"):
        Position.from_json(meta)
    position = Position(update=3, best_score=-1.5, ended="all epochs are done")
    assert Position.from_json(dataclasses.asdict(position)) == position


def test_the_loss_leaves_padding_out(corpus: Corpus) -> None:
    model = state_of(Train()).model.eval()
    (batch,) = batches(corpus, 6)
    together = batch_loss(model, batch)[0].nll
    alone = sum(batch_loss(model, one)[0].nll for one in batches(corpus, *[1] * 6))
    torch.testing.assert_close(together, alone)


def test_r_drop_is_two_passes_and_their_divergence(corpus: Corpus) -> None:
    """Against PyTorch's losses of the logits of two copies of every pair, under the same masks."""
    state = state_of(Train(), Dropout(word=0.1))
    (batch,) = batches(corpus, 6)
    torch.manual_seed(5)
    found, _ = batch_loss(state.model, batch, LossWeights(smoothing=0.1, r_drop=1.3))
    gradients = torch.autograd.grad(found.smoothed, list(state.parameters.values()))
    torch.manual_seed(5)
    twice = batch.repeated(2)
    logits = state.model(twice.source, twice.source_lengths, twice.target_input)
    entropy = F.cross_entropy(
        logits.flatten(0, 1),
        twice.target_output.flatten(),
        ignore_index=PAD,
        label_smoothing=0.1,
        reduction="sum",
    )
    first, second = logits[0::2].log_softmax(-1), logits[1::2].log_softmax(-1)
    inside = (batch.target_output != PAD).unsqueeze(-1)
    both_ways = ((first.exp() - second.exp()) * (first - second) * inside).sum()
    expected = entropy / 2 + 1.3 / 2 * both_ways / 2
    torch.testing.assert_close(found.smoothed, expected)
    for one, other in zip(
        gradients, torch.autograd.grad(expected, list(state.parameters.values())), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert both_ways > 0.01


def test_without_dropout_r_drop_changes_nothing(corpus: Corpus) -> None:
    model = state_of(Train()).model
    (batch,) = batches(corpus, 6)
    plain, with_it = (
        batch_loss(model, batch, LossWeights(smoothing=0.1, r_drop=weight))[0]
        for weight in (0.0, 2.0)
    )
    torch.testing.assert_close(with_it, plain)
