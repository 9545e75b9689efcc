"""The LSTM cell's kernels, interpreted on a CPU, beside float64 and beside PyTorch's operations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s2s.nn.cells.lstm import LoopLSTM, LSTMLayer, lstm_cell
from s2s.nn.fused.choice import plain
from s2s.nn.fused.lstm_cell import choose_lstm_cell, fused_lstm_cell

pytestmark = pytest.mark.usefixtures("interpreted")

ROWS = 3
MOST = {torch.float32: 2e-6, torch.bfloat16: 0.01}
"""Errors, as shares of the norm: bf16 rounds results by 2^-9."""
CPU = torch.device("cpu")

READERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "both": lambda h, c: (h.square() * 3.0).sum() + (c * h.to(c.dtype)).sum(),
    "h": lambda h, c: h.square().sum(),
    "c": lambda h, c: c.square().sum(),
    "an element of h": lambda h, c: h[1, 0],
}


def error(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


def drawn(width: int, kind: torch.dtype) -> list[Tensor]:
    """Gates and c."""
    torch.manual_seed(width)
    both = (torch.randn(ROWS, 4 * width) * 2, torch.randn(ROWS, width))
    return [one.to(kind).requires_grad_() for one in both]


@pytest.mark.parametrize("kind", MOST, ids=str)
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("width", [1, 5, 16, 37])
def test_values_and_gradients_are_those_of_float64(
    width: int, read: str, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of several blocks, of which the last is not full."""
    monkeypatch.setattr("s2s.nn.fused.lstm_cell_kernel.BLOCK", 16)
    given = drawn(width, kind)
    exact = [one.detach().double().requires_grad_() for one in given]
    found, expected = fused_lstm_cell(*given), lstm_cell(*exact)
    assert [one.dtype for one in found] == [kind, torch.float32]
    assert max(map(error, found, expected)) < MOST[kind]
    gradients = torch.autograd.grad(READERS[read](*found), given)
    wanted = torch.autograd.grad(READERS[read](*expected), exact)
    for one, other, leaf in zip(gradients, wanted, given, strict=True):
        assert one.dtype == leaf.dtype
        assert error(one, other) < MOST[kind]


def test_the_state_may_be_of_another_type_and_layout() -> None:
    """As the first one is in bf16, and a part of a wider tensor."""
    gates, _ = drawn(5, torch.bfloat16)
    c = torch.randn(5, ROWS).t()[:, :5].requires_grad_()
    found, expected = fused_lstm_cell(gates, c), lstm_cell(gates.double(), c.double())
    assert max(map(error, found, expected)) < MOST[torch.bfloat16]
    pairs = [torch.autograd.grad(READERS["both"](*one), c)[0] for one in (found, expected)]
    assert pairs[0].dtype == torch.float32
    assert error(*pairs) < MOST[torch.bfloat16]


def test_saturated_gates_are_finite() -> None:
    gates = torch.tensor([[40.0, -40.0, 40.0, -40.0], [-40.0, 40.0, -40.0, 40.0]])
    gates.requires_grad_()
    c = torch.tensor([[2.0], [30.0]], requires_grad=True)
    h, after = fused_lstm_cell(gates, c)
    torch.testing.assert_close(h, torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(after, torch.tensor([[1.0], [30.0]]))
    gradients = torch.autograd.grad(h.sum() + after.sum(), (gates, c))
    torch.testing.assert_close(gradients[1], torch.tensor([[0.0], [1.0]]))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_without_rows_there_is_nothing_to_do() -> None:
    h, c = fused_lstm_cell(torch.zeros(0, 20), torch.zeros(0, 5))
    assert h.shape == c.shape == (0, 5)


@pytest.mark.parametrize("kind", MOST, ids=str)
def test_the_kernel_passes_its_trial(kind: torch.dtype) -> None:
    assert choose_lstm_cell(CPU, kind, 37, lstm_cell) is fused_lstm_cell


def test_a_cell_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.nn.fused.choice._verdicts", {})

    def other(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return lstm_cell(gates.flip(-1), c)

    with pytest.warns(RuntimeWarning, match=r"kernel of the LSTM cell \[5\] in float32 differs"):
        assert choose_lstm_cell(CPU, torch.float32, 5, other) is other


@pytest.mark.parametrize(("kind", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)], ids=str)
def test_a_loop_has_the_same_gradients(kind: torch.dtype, most: float) -> None:
    layer = LSTMLayer(6, 5)
    x_TND = torch.randn(4, ROWS, 6)

    def outcome() -> list[Tensor]:
        with torch.autocast("cpu", kind, enabled=kind != torch.float32):
            step, hs = LoopLSTM(layer), []
            state: tuple[Tensor, ...] = layer.initial(x_TND[0, :, :5])
            for x_ND in x_TND.unbind(0):
                state = step(x_ND, state)
                hs.append(state[0])
        loss = torch.stack(hs).float().square().sum() + state[1].float().sum()
        return [loss, *torch.autograd.grad(loss, list(layer.parameters()))]

    found = outcome()
    assert found[0].grad_fn is not None
    with plain():
        expected = outcome()
    assert not torch.equal(found[0], expected[0]) or kind == torch.float32
    assert max(map(error, found, expected)) < most
