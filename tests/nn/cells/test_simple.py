"""The simple recurrent network against its equation and PyTorch's."""

import pytest
import torch
from torch import nn

from s2s.nn.cells.simple import SimpleLayer
from s2s.recipe.cells import SimpleCell


def layer(kind: str) -> SimpleLayer:
    torch.manual_seed(0)
    made = SimpleLayer(3, 5, SimpleCell(kind=kind)).double()  # type: ignore[arg-type]
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


every_kind = pytest.mark.parametrize("kind", ["tanh", "relu"])


@every_kind
def test_a_step_is_the_written_equation_and_a_sequence_its_steps(kind: str) -> None:
    made = layer(kind)
    x_TBD, h_BH = torch.randn(7, 4, 3).double(), torch.randn(4, 5).double()
    whole_TBH, last = made(x_TBD, (h_BH,))
    for x_BD, output_BH in zip(x_TBD, whole_TBH, strict=True):
        sums = x_BD @ made.input_weight.T + h_BH @ made.recurrent_weight.T + made.bias
        expected = torch.tanh(sums) if kind == "tanh" else sums.clamp(min=0)
        (h_BH,) = made.step(x_BD, (h_BH,))
        torch.testing.assert_close(h_BH, expected)
        torch.testing.assert_close(h_BH, output_BH)
    torch.testing.assert_close(last, (h_BH,))


@every_kind
def test_a_sequence_is_pytorchs_in_gradients_too(kind: str) -> None:
    made = layer(kind)
    x_TBD, h_BH = torch.randn(7, 4, 3).double(), torch.randn(4, 5).double()
    expected, _ = made.rnn(x_TBD, h_BH.unsqueeze(0))
    found, _ = made(x_TBD, (h_BH,))
    torch.testing.assert_close(found, expected)
    parameters = list(made.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
    )


@every_kind
def test_input_may_be_projected_in_parts(kind: str) -> None:
    made = layer(kind)
    x_BD, state = torch.randn(4, 3).double(), (torch.randn(4, 5).double(),)
    in_parts = made.in_loop(2)(x_BD[:, 2:], state, made.project(x_BD[:, :2]))
    torch.testing.assert_close(in_parts, made.step(x_BD, state))


def test_the_recurrent_matrix_may_begin_as_the_identity() -> None:
    made = SimpleLayer(3, 5, SimpleCell(kind="relu", recurrent_init="identity"))
    assert torch.equal(made.recurrent_weight, torch.eye(5))
