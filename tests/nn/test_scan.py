"""The linear recurrence by steps and by doubling: the written equation, and its gradients."""

import pytest
import torch
from torch import Tensor

from s2s.nn import scan
from s2s.nn.scan import linear_recurrence


@pytest.fixture(params=["steps", "doubling"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "doubling":  # as on a GPU

        def by_doubling(a: Tensor, b: Tensor, h: Tensor, backwards: bool) -> Tensor:
            if backwards:
                return scan._by_doubling(a.flip(0), b.flip(0), h).flip(0)
            return scan._by_doubling(a, b, h)

        monkeypatch.setattr(scan, "_by_steps", by_doubling)
    return str(request.param)


def inputs(time: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    a_TBH = torch.rand(time, 2, 3, generator=draw, dtype=torch.float64)
    b_TBH = torch.randn(time, 2, 3, generator=draw, dtype=torch.float64)
    return a_TBH, b_TBH, torch.randn(2, 3, generator=draw, dtype=torch.float64)


def written(a_TBH: Tensor, b_TBH: Tensor, h_BH: Tensor) -> Tensor:
    outputs = []
    for a_BH, b_BH in zip(a_TBH, b_TBH, strict=True):
        h_BH = a_BH * h_BH + b_BH
        outputs.append(h_BH)
    return torch.stack(outputs)


@pytest.mark.parametrize("time", [1, 2, 3, 8, 13])
def test_it_is_the_written_equation_with_its_gradients(time: int) -> None:
    leaves = [one.requires_grad_() for one in inputs(time)]
    found, expected = linear_recurrence(*leaves), written(*leaves)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(time, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, upstream),
        torch.autograd.grad(expected, leaves, upstream),
    )


def test_gradients_are_those_of_differences() -> None:
    leaves = [one.requires_grad_() for one in inputs(5)]
    assert torch.autograd.gradcheck(linear_recurrence, leaves)


def test_gates_of_0_and_1_forget_and_keep() -> None:
    b_TBH = torch.arange(6.0).view(6, 1, 1)
    ones = torch.ones_like(b_TBH)
    start = torch.full((1, 1), 10.0)
    assert linear_recurrence(0 * ones, b_TBH, start).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert linear_recurrence(ones, b_TBH, start).flatten().tolist() == [10, 11, 13, 16, 20, 25]


def test_a_long_sequence_of_small_gates_is_exact() -> None:
    """Cumulative products alone would vanish and divide by zero."""
    a_TBH = torch.full((2_000, 1, 2), 1e-3)
    found = linear_recurrence(a_TBH, torch.ones_like(a_TBH), torch.zeros(1, 2))
    torch.testing.assert_close(found[-1], torch.full((1, 2), 1 / (1 - 1e-3)))
