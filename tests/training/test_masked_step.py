"""The step that a device leaves out by itself, by a fused optimizer, which a CPU has too."""

import math

import pytest
import torch
from torch import Tensor

from s2s.data.batches import collate
from s2s.data.store import Corpus
from s2s.recipe.train import Optimizer, Train
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.masked_step import masked_step
from s2s.training.state import TrainingState
from s2s.training.update import Updater
from tests.training.toys import state_of

SHAPES = ((3, 5), (7,), ())


def optimizer(gradients: list[Tensor], updates: int = 2) -> torch.optim.Optimizer:
    """With moments of some updates, and with gradients for the next."""
    torch.manual_seed(4)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    made = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.01, fused=True)
    for _ in range(updates):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        made.step()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    return made


def all_of(found: torch.optim.Optimizer) -> list[Tensor]:
    (group,) = found.param_groups
    moments = [found.state[p][key] for p in group["params"] for key in sorted(found.state[p])]
    return [tensor.detach().clone() for tensor in (*group["params"], *moments)]


@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e6])
def test_a_finite_gradient_is_clipped_and_stepped(clip_norm: float | None) -> None:
    gradients = [torch.randn(shape) for shape in SHAPES]
    norm = torch.nn.utils.get_total_norm(gradients)
    found, expected = optimizer(gradients), optimizer(gradients)
    assert masked_step(found, norm, clip_norm).item() == 0.0
    (group,) = expected.param_groups
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(group["params"], clip_norm, norm)
    expected.step()
    torch.testing.assert_close(all_of(found), all_of(expected), rtol=1e-6, atol=1e-7)
    # Nothing stays behind that the next step, be it a plain one, would heed.
    assert vars(found).keys() == vars(expected).keys()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_one_that_is_not_finite_changes_nothing(bad: float, clip_norm: float | None) -> None:
    gradients = [torch.randn(shape) for shape in SHAPES]
    gradients[1][2] = bad
    found = optimizer(gradients)
    before = all_of(found)
    norm = torch.nn.utils.get_total_norm(gradients)
    assert masked_step(found, norm, clip_norm).item() == 1.0
    torch.testing.assert_close(all_of(found), before, rtol=0, atol=0)


def averages(state: TrainingState) -> list[Tensor]:
    assert state.average is not None
    return [tensor.clone() for tensor in state.average.values()]


def moved(left_out: bool | Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The average of weights before and after weights have changed."""
    state = state_of(Train(average=0.9))
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in state.parameters.values():
            parameter.add_(torch.randn_like(parameter))
    before = averages(state)
    state.position.update = 3
    state.update_average(left_out)
    return before, averages(state)


def test_the_average_moves_with_the_steps_that_are_taken() -> None:
    _, expected = moved(left_out=False)
    _, found = moved(torch.tensor(0.0))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for left_out in (True, torch.tensor(1.0)):
        before, after = moved(left_out)
        torch.testing.assert_close(after, before, rtol=0, atol=0)
        assert any(not torch.equal(*pair) for pair in zip(after, expected, strict=True))


def test_an_update_whose_gradient_is_not_finite_changes_nothing(corpus: Corpus) -> None:
    recipe = Train(average=0.9, optimizer=Optimizer(learning_rate=0.1))
    state = state_of(recipe)
    update = Updater(state, Seq2SeqObjective(state.recipe), 1, "fp32", 100)
    batch = [collate(corpus, torch.arange(5).numpy())]
    update(batch)
    weights = [p.detach().clone() for p in state.parameters.values()]
    before = averages(state)
    hook = state.model.output.bias.register_hook(lambda gradient: gradient * math.nan)
    seen = update(batch)
    hook.remove()
    assert seen.gradient_norm.isnan() and state.position.update == 2
    torch.testing.assert_close(list(state.parameters.values()), weights, rtol=0, atol=0)
    torch.testing.assert_close(averages(state), before, rtol=0, atol=0)
    update(batch)
    assert not torch.equal(state.model.output.bias, weights[-1])
