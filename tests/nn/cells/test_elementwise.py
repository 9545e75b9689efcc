"""Elementwise cells against their published equations."""

import pytest
import torch
from torch import Tensor, nn

from s2s.nn.cells.elementwise import ElementwiseLayer
from s2s.recipe.cells import ElementwiseCell

KINDS = ["sru", "ssru", "mingru", "minlstm"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def layer(kind: str) -> ElementwiseLayer:
    torch.manual_seed(0)
    made = ElementwiseLayer(3, 5, ElementwiseCell(kind=kind)).double()  # type: ignore[arg-type]
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def sigma(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def written(made: ElementwiseLayer, kind: str, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c), in the letters of each paper."""
    sums = (x @ made.linear.weight.T + made.linear.bias).split(5, dim=-1)
    match kind:
        case "sru":
            f, r, u, v = sigma(sums[0]), sigma(sums[1]), sums[2], sums[3]
            c = f * c + (1 - f) * u
            return r * c + (1 - r) * v, c
        case "ssru":
            f = sigma(sums[0])
            c = f * c + (1 - f) * sums[1]
            return torch.relu(c), c
        case "mingru":
            z = 1 - sigma(sums[0])
            c = (1 - z) * c + z * sums[1]
            return c, c
        case _:
            f, i = sigma(sums[0]), sigma(sums[1])
            c = f / (f + i) * c + i / (f + i) * sums[2]
            return c, c


@every_kind
def test_a_step_is_the_written_equations_and_a_sequence_its_steps(kind: str) -> None:
    made = layer(kind)
    x_TBD, c_BH = torch.randn(7, 4, 3).double(), torch.randn(4, 5).double()
    state = made.initial(c_BH)
    whole_TBH, last = made(x_TBD, state)
    for x_BD, output_BH in zip(x_TBD, whole_TBH, strict=True):
        expected = written(made, kind, x_BD, state[1])
        state = made.step(x_BD, state)
        torch.testing.assert_close(state, expected)
        torch.testing.assert_close(state[0], output_BH)
    torch.testing.assert_close(last, state)


@every_kind
def test_a_loop_of_steps_is_the_whole_sequence_in_gradients_too(kind: str) -> None:
    made = layer(kind)
    x_TBD, state = torch.randn(7, 4, 3).double(), made.initial(torch.randn(4, 5).double())
    whole, _ = made(x_TBD, state)
    step, found = made.in_loop(), []
    for x_BD in x_TBD:
        state = step(x_BD, state)
        found.append(made.output(state))
    torch.testing.assert_close(torch.stack(found), whole)
    parameters = list(made.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(torch.stack(found).square().sum(), parameters),
        torch.autograd.grad(whole.square().sum(), parameters),
    )


@every_kind
def test_input_may_be_projected_in_parts(kind: str) -> None:
    made = layer(kind)
    x_BD, state = torch.randn(4, 3).double(), made.initial(torch.randn(4, 5).double())
    in_parts = made.in_loop(2)(x_BD[:, 2:], state, made.project(x_BD[:, :2]))
    torch.testing.assert_close(in_parts, made.step(x_BD, state))


@every_kind
def test_a_high_bias_keeps_the_state(kind: str) -> None:
    recipe = ElementwiseCell(kind=kind, forget_bias=30.0)  # type: ignore[arg-type]
    made, c_BH = ElementwiseLayer(3, 5, recipe), torch.randn(4, 5)
    _, (_, last_BH) = made(torch.randn(50, 4, 3), made.initial(c_BH))
    torch.testing.assert_close(last_BH, c_BH, atol=1e-4, rtol=1e-4)


def test_gates_that_vanish_both_divide_no_zero_by_zero() -> None:
    made = layer("minlstm").float()
    with torch.no_grad():
        made.linear.bias[:10] = -200.0
    h_TBH, _ = made(torch.randn(3, 4, 3))
    assert h_TBH.isfinite().all()


@pytest.mark.kernels
@every_kind
def test_in_search_a_sentence_does_not_depend_on_its_batch(kind: str) -> None:
    made = layer(kind).float().requires_grad_(requires_grad=False).for_rows("bf16")
    x_TBD = torch.randn(70, 9, 3)  # in several parts
    whole, _ = made(x_TBD)
    for row in range(9):
        alone, _ = made(x_TBD[:, row : row + 1])
        assert torch.equal(alone[:, 0], whole[:, row])
