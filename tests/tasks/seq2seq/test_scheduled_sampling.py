"""Scheduled sampling: its schedules, and inputs that are those of drawing one after the other."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.kernels import runs_bf16_lstm
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import Model
from s2s.recipe.scheduled_sampling import (
    ConstantSampling,
    ExponentialSampling,
    InverseSigmoidSampling,
    LinearSampling,
    ScheduledSampling,
)
from s2s.special import PAD
from s2s.tasks.seq2seq import scheduled_sampling
from s2s.tasks.seq2seq.scheduled_sampling import sampled_inputs, teacher_probability
from tests.nn import test_pointer as pointer
from tests.nn.test_model import LENGTHS, RECIPES, build, name, pairs

ALWAYS = ConstantSampling(kind="constant", teacher=0.0)
BEST = replace(ALWAYS, draw="best")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (ConstantSampling(kind="constant", teacher=0.3), [0.3, 0.3, 0.3]),
        (LinearSampling(kind="linear", updates=100, least=0.2), [1.0, 0.6, 0.2]),
        (ExponentialSampling(kind="exponential", k=0.99), [1.0, 0.99**50, 0.99**500]),
        (
            InverseSigmoidSampling(kind="inverse_sigmoid", k=20.0),
            [20 / 21, 20 / (20 + math.exp(2.5)), 20 / (20 + math.exp(25))],
        ),
    ],
    ids=["constant", "linear", "exponential", "inverse_sigmoid"],
)
def test_schedules_are_those_of_the_paper(recipe: ScheduledSampling, expected: list[float]) -> None:
    found = [teacher_probability(recipe, update) for update in (1, 51, 501)]
    assert found == pytest.approx(expected)


def test_a_schedule_never_overflows() -> None:
    recipe = InverseSigmoidSampling(kind="inverse_sigmoid", k=1.0)
    assert teacher_probability(recipe, 10**9) == pytest.approx(0.0)


def in_turn(model: Seq2Seq, target_BT: Tensor, draw: str, teacher: float) -> Tensor:
    """The inputs when each is drawn after those before it, with the same random numbers."""
    draws_BT = torch.rand(target_BT.shape)
    chosen_BT = (torch.rand(target_BT.shape) >= teacher) & (target_BT != PAD)
    memory = model.encode(pairs()[0], LENGTHS)
    state, inputs = model.start(memory), [target_BT[:, 0]]
    for t in range(1, target_BT.shape[1]):
        step = model.step(memory, state, inputs[-1])
        state = step.state
        if draw == "best":
            token_B = step.logits.argmax(-1)
        else:
            cumulative = torch.softmax(step.logits, dim=-1).cumsum(-1)
            token_B = (cumulative <= draws_BT[:, t : t + 1] * cumulative[:, -1:]).sum(-1)
        inputs.append(torch.where(chosen_BT[:, t], token_B, target_BT[:, t]))
    return torch.stack(inputs, dim=1)


@pytest.mark.parametrize("draw", ["sample", "best"])
@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_with_a_pass_for_each_step_tokens_are_drawn_one_after_the_other(
    recipe: Model, draw: str
) -> None:
    model, (source, target) = build(recipe), pairs()
    target[1, 5:] = PAD
    sampling = replace(ALWAYS, draw=draw, passes=target.shape[1])  # type: ignore[arg-type]
    torch.manual_seed(7)
    found = sampled_inputs(model, model.encode(source, LENGTHS), target, sampling, 0.4)
    torch.manual_seed(7)
    with torch.no_grad():
        expected = in_turn(model, target, draw, 0.4)
    assert torch.equal(found, expected)
    assert not torch.equal(found, target)


def test_true_tokens_stay_with_probability_1_and_begin_and_padding_always() -> None:
    model, (source, target) = build(RECIPES[0]), pairs()
    target[0, 4:] = PAD
    memory = model.encode(source, LENGTHS)
    assert torch.equal(sampled_inputs(model, memory, target, ALWAYS, 1.0), target)
    found = sampled_inputs(model, memory, target, ALWAYS, 0.0)
    assert torch.equal(found[:, 0], target[:, 0])
    assert (found[0, 4:] == PAD).all()


def test_one_pass_reads_what_teacher_forcing_predicts() -> None:
    model, (source, target) = build(RECIPES[0]), pairs()
    memory = model.encode(source, LENGTHS)
    found = sampled_inputs(model, memory, target, BEST, 0.0)
    expected = model(source, LENGTHS, target).argmax(-1)
    assert torch.equal(found[:, 1:], expected[:, :-1])


def test_models_that_copy_draw_from_the_mixture() -> None:
    recipe = next(one for one in pointer.RECIPES if one.copy == "pointer")
    model = pointer.build(recipe)
    source, target = pointer.ids(recipe)
    memory = model.encode(source, pointer.LENGTHS)
    found = sampled_inputs(model, memory, target, BEST, 0.0)
    expected = model(source, pointer.LENGTHS, target).argmax(-1)
    inside = target[:, 1:] != PAD
    assert torch.equal(found[:, 1:][inside], expected[:, :-1][inside])


def test_draws_are_of_the_models_distribution() -> None:
    torch.manual_seed(1)
    logits_NV = torch.randn(1, 5).expand(20_000, -1)
    drawn_N = scheduled_sampling._drawn(logits_NV, torch.rand(20_000))
    shares = torch.bincount(drawn_N, minlength=5) / 20_000
    torch.testing.assert_close(shares, torch.softmax(logits_NV[0], -1), atol=0.015, rtol=0)


@pytest.mark.skipif(not runs_bf16_lstm(), reason="no LSTM in bf16 on this CPU")
def test_weights_that_autocast_casts_keep_their_gradients() -> None:
    model, (source, target) = build(RECIPES[0]).train(), pairs()
    with torch.autocast("cpu", torch.bfloat16):
        memory = model.encode(source, LENGTHS)
        inputs = sampled_inputs(model, memory, target, ALWAYS, 0.5)
        model.decoded(memory, inputs).readout.float().sum().backward()
    idle = [n for n, p in model.decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle
