"""Products with one matrix in a loop: their values, and one product for the gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from s2s.nn.loop_linear import LoopLinear

STEPS = 6
Product = Callable[[Tensor], Tensor]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def looped(product: Product, x: Tensor) -> Tensor:
    """A value that depends on every step, each of which reads the previous one."""
    total = x.new_zeros(())
    for _ in range(STEPS):
        x = torch.tanh(product(x))[..., : x.shape[-1]]
        total = total + x.square().sum()
    return total


@pytest.mark.parametrize(("sentences", "has_bias"), [(None, False), (None, True), (3, False)])
def test_values_and_gradients_are_those_of_a_product(sentences: int | None, has_bias: bool) -> None:
    torch.manual_seed(1)
    before = () if sentences is None else (sentences,)
    matrix, x = draw(*before, 5, 4), draw(*before, 2, 4)
    bias = draw(5) if has_bias else None
    inputs = [matrix, x] if bias is None else [matrix, x, bias]

    def plain(v: Tensor) -> Tensor:
        return v @ matrix.mT if bias is None else v @ matrix.mT + bias

    expected, found = looped(plain, x), looped(LoopLinear(matrix, bias), x)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(found, inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, inputs))


def test_an_addend_is_added() -> None:
    torch.manual_seed(2)
    matrix, known, x = draw(4, 4), draw(STEPS, 3, 4), draw(3, 4)

    def loop(product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        y = x
        for known_NO in known:
            y = torch.tanh(product(y, known_NO))
        return y.square().sum()

    expected, found = loop(lambda v, b: v @ matrix.mT + b), loop(LoopLinear(matrix))
    inputs = (matrix, known, x)
    gradients = torch.autograd.grad(found, inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, inputs))


def test_unused_products_add_nothing_to_the_gradient() -> None:
    torch.manual_seed(3)
    matrix, x = draw(4, 4), draw(2, 4)
    product = LoopLinear(matrix)
    used, _ = product(x), product(2.0 * x)
    (found,) = torch.autograd.grad(used.sum(), matrix)
    torch.testing.assert_close(found, x.sum(0).expand(4, -1))
    product(x)
    assert torch.autograd.grad(x.sum(), matrix, allow_unused=True) == (None,)


def test_the_gradient_of_the_matrix_is_one_product() -> None:
    class Shapes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            found = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.mm.default:
                made.append(tuple(found.shape))
            return found

    made: list[tuple[int, ...]] = []
    total = looped(LoopLinear(matrix := draw(7, 4)), draw(2, 4))
    with Shapes():
        torch.autograd.grad(total, matrix)
    assert made.count((7, 4)) == 1
    assert made.count((2, 4)) == STEPS


def test_the_sum_over_steps_is_rounded_once() -> None:
    """In bf16 256 + 1 is 256, so a sum step by step would lose the 1."""
    matrix = torch.ones(1, 1, requires_grad=True)
    steps = torch.tensor([256.0] + [1.0] * 64).view(-1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        product = LoopLinear(matrix)
        total = sum(product(x).float().sum() for x in steps)
        assert product(steps[0]).dtype == torch.bfloat16
    assert isinstance(total, Tensor)
    total.backward()
    assert matrix.grad is not None
    assert matrix.grad.dtype == torch.float32
    assert float(matrix.grad) == 320.0
