"""GRU layers against the equations, in both conventions of the reset gate, and PyTorch's."""

import pytest
import torch
from torch import Tensor, nn

from s2s.nn.cells.gru import GRULayer
from s2s.recipe.cells import GRUCell


def layer(reset: str) -> GRULayer:
    torch.manual_seed(0)
    made = GRULayer(3, 5, GRUCell(kind="gru", reset=reset)).double()  # type: ignore[arg-type]
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def written(made: GRULayer, x: Tensor, h: Tensor, reset: str) -> Tensor:
    w_r, w_z, w_n = made.input_weight.chunk(3)
    u_r, u_z, u_n = made.recurrent_weight.chunk(3)
    b_r, b_z, b_n = made.bias.chunk(3)
    r = 1 / (1 + torch.exp(-(x @ w_r.T + h @ u_r.T + b_r)))
    z = 1 / (1 + torch.exp(-(x @ w_z.T + h @ u_z.T + b_z)))
    if reset == "before":
        n = torch.tanh(x @ w_n.T + (r * h) @ u_n.T + b_n)
    else:
        n = torch.tanh(x @ w_n.T + r * (h @ u_n.T + made.candidate_bias) + b_n)
    return (1 - z) * n + z * h


every_reset = pytest.mark.parametrize("reset", ["after", "before"])


@every_reset
def test_a_step_is_the_written_equations_and_a_sequence_its_steps(reset: str) -> None:
    made = layer(reset)
    x_TBD, h_BH = torch.randn(7, 4, 3).double(), torch.randn(4, 5).double()
    whole_TBH, last = made(x_TBD, (h_BH,))
    for x_BD, output_BH in zip(x_TBD, whole_TBH, strict=True):
        expected = written(made, x_BD, h_BH, reset)
        (h_BH,) = made.step(x_BD, (h_BH,))
        torch.testing.assert_close(h_BH, expected)
        torch.testing.assert_close(h_BH, output_BH)
    torch.testing.assert_close(last, (h_BH,))


def test_reset_after_is_pytorchs() -> None:
    made = layer("after")
    x_TBD, h_BH = torch.randn(7, 4, 3).double(), torch.randn(4, 5).double()
    expected, _ = made.gru(x_TBD, h_BH.unsqueeze(0))
    found, _ = made(x_TBD, (h_BH,))
    torch.testing.assert_close(found, expected)
    parameters = list(made.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
    )


def test_both_conventions_agree_where_the_reset_gate_is_open() -> None:
    after, before = layer("after"), layer("before")
    with torch.no_grad():
        before.gru.load_state_dict(
            {name: one for name, one in after.gru.state_dict().items() if "weight" in name}
        )
        after.gru.bias_ih_l0[:5] = before.own_bias[:5] = 50.0  # type: ignore[index, operator]
        before.own_bias[5:] = after.bias[5:]  # type: ignore[index]
        before.own_bias[10:] += after.candidate_bias  # type: ignore[index]
    x_TBD = torch.randn(7, 4, 3).double()
    torch.testing.assert_close(before(x_TBD)[0], after(x_TBD)[0])


@every_reset
def test_input_may_be_projected_in_parts(reset: str) -> None:
    made = layer(reset)
    x_BD, state = torch.randn(4, 3).double(), (torch.randn(4, 5).double(),)
    in_parts = made.in_loop(2)(x_BD[:, 2:], state, made.project(x_BD[:, :2]))
    torch.testing.assert_close(in_parts, made.step(x_BD, state))


@every_reset
def test_recurrent_matrices_begin_orthogonal_by_gate(reset: str) -> None:
    made = GRULayer(3, 5, GRUCell(kind="gru", reset=reset))  # type: ignore[arg-type]
    for gate in made.recurrent_weight.chunk(3):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5))


def test_states_stay_in_float32_under_autocast() -> None:
    """In bf16 a state that hardly changes would not change at all."""
    made = layer("after").float()
    with torch.autocast("cpu", torch.bfloat16):
        _, (h_BH,) = made(torch.randn(3, 4, 3))
    assert h_BH.dtype == torch.float32
