"""Sigmoid and tanh of search: those of float64, rounded alike at every place."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s2s.nn import activations
from s2s.nn.activations import sigmoid_of_negative_, tanh

pytestmark = pytest.mark.kernels


@pytest.fixture(autouse=True, params=["as tested", "without exp"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions as this CPU has them, and those of one whose exponentials round by place."""
    if request.param == "without exp":
        monkeypatch.setattr(activations, "exp_rounds_alike", lambda: False)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "sigmoid": (lambda x: sigmoid_of_negative_(x.clone()), lambda x: torch.sigmoid(-x)),
    "tanh": (tanh, torch.tanh),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


@every_function
def test_they_are_those_of_float64(name: str) -> None:
    found, expected = FUNCTIONS[name]
    x = torch.cat((torch.linspace(-20.0, 20.0, 4001), torch.logspace(-12, 0, 101)))
    error = found(x).double() - expected(x.double())
    assert error.abs().max() <= 2.0**-22
    assert found(x).abs().max() <= 1.0


@every_function
def test_they_end_at_their_limits(name: str) -> None:
    found, expected = FUNCTIONS[name]
    x = torch.tensor([-torch.inf, -1e30, -1e3, 0.0, 1e3, 1e30, torch.inf])
    assert torch.equal(found(x), expected(x))
    assert found(torch.tensor([torch.nan])).isnan().all()


@every_function
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_element_has_the_same_bits_at_every_place(name: str, threads: int) -> None:
    found, _ = FUNCTIONS[name]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = 4.0 * torch.randn(40_003, generator=torch.Generator().manual_seed(1))
        whole = found(x)
        for start, end in ((1, 40_003), (7, 20), (13, 14), (3, 33_000)):
            assert torch.equal(found(x[start:end]), whole[start:end])
        columns = x[:40_000].view(200, 200)[:, 3:50]  # not contiguous
        assert torch.equal(found(columns), whole[:40_000].view(200, 200)[:, 3:50])
    finally:
        torch.set_num_threads(before)
