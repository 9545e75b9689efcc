"""Matrix products of search, y = W x + b, with weights packed once.

- `fp32`: as in training, with the weights in the layout of the kernel.
- `bf16`: weights and inputs are rounded to 8 bits of mantissa. Products are summed in fp32 and
  rounded to bf16; biases are added in fp32.
- `int8`: both are rounded to integer multiples of a scale. Each row of a weight matrix has its own
  scale. Each input channel has a fixed one, from a bound of its absolute value. So there is no
  calibration, and the scale of a row does not depend on other rows. Sums are exact below 2^24;
  above, a kernel may round one to fp32 before it subtracts the zero point's part.

On a CPU the result of a row does not depend on the other rows or on its place among them, bit for
bit: every product is tested in every shape before its first use (`RowIndependent`).
`s2s.nn.kernels` chooses the kernel.

Dimension letters: N rows, D input channels, O output channels.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Protocol, assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.choices import SearchPrecision

LEVELS = 127
"""Largest integer of int8 inputs and weights."""

NARROW_LEVELS = 64
"""The same of weights on a CPU that sums two products in 16 bits: 2 * 255 * 64 < 2^15."""

ZERO_POINT = 128
"""The unsigned input of an int8 product that represents 0. oneDNN has fast kernels for signed
inputs on CPUs with AMX only."""

NO_POST_OP: tuple[Any, ...] = ("none", [], "")
"""Arguments of oneDNN's operators for no operation after the product."""


class Weights(NamedTuple):
    """W and b of y = W x + b, and bounds of x."""

    weight_OD: Tensor
    bias_O: Tensor
    bound_D: Tensor
    """The largest absolute value of each input channel."""


class Product(Protocol):
    """y = W x + b."""

    def __call__(self, x_ND: Tensor, /) -> Tensor:
        """float32 [N, O] of float32 [N, D]."""
        ...


class PlainProduct:
    """The product in a floating-point type, on any device."""

    def __init__(self, weights: Weights, dtype: torch.dtype = torch.float32) -> None:
        self.weight_OD = weights.weight_OD.to(dtype)
        self.bias_O = weights.bias_O.float()

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        return F.linear(x_ND.to(self.weight_OD.dtype), self.weight_OD) + self.bias_O


class OneDNNProduct:
    """The product in a floating-point type on a CPU, by oneDNN, with weights in its layout.

    `F.linear` reorders the weights at every call (bf16), or calls another library (fp32).
    """

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        self.dtype = dtype
        weight_OD = weights.weight_OD.to(dtype).contiguous()
        self.weight_OD = torch.ops.mkldnn._reorder_linear_weight(weight_OD)
        self.bias_O = weights.bias_O.float()

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        is_fp32 = self.dtype == torch.float32
        bias_O = self.bias_O if is_fp32 else None
        y_NO: Tensor = torch.ops.mkldnn._linear_pointwise(
            x_ND.to(self.dtype), self.weight_OD, bias_O, *NO_POST_OP
        )
        return y_NO if is_fp32 else y_NO + self.bias_O


class RoundedProduct:
    """The product in bf16, computed by one in fp32, for a CPU that multiplies fp32 faster.

    Products of two numbers in bf16 are exact in fp32, and sums are in fp32 either way.
    """

    def __init__(self, weights: Weights, fp32: Callable[[Weights], Product]) -> None:
        """`fp32` makes a product in fp32."""
        self.bias_O = weights.bias_O.float()
        weight_OD = weights.weight_OD.bfloat16().float()
        self.product = fp32(Weights(weight_OD, torch.zeros_like(self.bias_O), weights.bound_D))

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        y_NO = self.product(x_ND.bfloat16().float())
        return y_NO.bfloat16() + self.bias_O


class Int8Product:
    """The product in int8 on a CPU, by oneDNN."""

    def __init__(self, weights: Weights, levels: int) -> None:
        """`levels` is the largest integer of the weights."""
        least = torch.finfo(torch.float32).tiny
        bound_D = weights.bound_D.float()
        reach_OD = weights.weight_OD.float() * bound_D
        self.scale_O = reach_OD.abs().amax(1).clamp_min(least) / levels
        whole_OD = (reach_OD / self.scale_O.unsqueeze(1)).round_().to(torch.int8)
        self.weight_OD = torch.ops.onednn.qlinear_prepack(whole_OD, None)
        self.zeros_O = torch.zeros(len(whole_OD), dtype=torch.int64)
        self.bias_O = weights.bias_O.float()
        self.levels_D = LEVELS / bound_D.clamp_min(least)

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        whole_ND = (x_ND * self.levels_D).round_().clamp_(-LEVELS, LEVELS).to(torch.int8)
        # Inverting the sign bit adds the zero point.
        unsigned_ND = whole_ND.view(torch.uint8).bitwise_xor_(ZERO_POINT)
        return _int8_product(unsigned_ND, (self.weight_OD, self.scale_O, self.zeros_O), self.bias_O)


def _int8_product(
    x_ND: Tensor, weight: tuple[Tensor, Tensor, Tensor], bias_O: Tensor | None
) -> Tensor:
    """float32 [N, O] of uint8 [N, D], and of packed weights, their scales and zero points."""
    of_input = (1.0 / LEVELS, ZERO_POINT)  # scale and zero point
    of_output = (1.0, 0, torch.float32)
    y_NO: Tensor = torch.ops.onednn.qlinear_pointwise(
        *(x_ND, *of_input), *weight, bias_O, *of_output, *NO_POST_OP
    )
    return y_NO


class RowwiseProduct:
    """The product in a floating-point type on a CPU, summed row by row: slower than a kernel for
    matrices, and independent of other rows by construction."""

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.weight_1DO = weights.weight_OD.to(dtype).float().t().contiguous().unsqueeze(0)
        self.bias_O = weights.bias_O.float()

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        return weighted_sum(x_ND.to(self.dtype).float(), self.weight_1DO) + self.bias_O


class RowIndependent:
    """A product on a CPU in which no row depends on the other rows, or on its place.

    Kernels differ by processor, shape and number of threads. So before its first use in a shape, a
    kernel is called with the same random rows in several orders. If the results differ in a bit,
    `RowwiseProduct` replaces it.
    """

    def __init__(
        self, kernel: Product, bound_D: Tensor, rowwise: Callable[[], RowwiseProduct]
    ) -> None:
        self.kernel = kernel
        self.bound_D = bound_D
        self.rowwise = rowwise
        self.chosen: dict[tuple[int, int], Product] = {}
        """The product for each number of rows and of threads."""

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        shape = len(x_ND), torch.get_num_threads()
        if shape not in self.chosen:
            is_independent = has_independent_rows(self.kernel, len(x_ND), self.bound_D)
            self.chosen[shape] = self.kernel if is_independent else self._other()
        return self.chosen[shape](x_ND)

    def _other(self) -> Product:
        """The product row by row, made once for all shapes that need it."""
        made = [one for one in self.chosen.values() if isinstance(one, RowwiseProduct)]
        return made[0] if made else self.rowwise()


def has_independent_rows(product: Product, rows: int, bound_D: Tensor) -> bool:
    """Whether a product gives the same rows, bit for bit, for any order of its input's rows."""
    if rows < 2:
        return True
    generator = torch.Generator().manual_seed(rows)
    unit_ND = torch.rand(rows, len(bound_D), generator=generator, dtype=torch.float32)
    x_ND = (2.0 * unit_ND - 1.0) * bound_D.float()
    y_NO = product(x_ND)
    # Every row in the next place, and in a random one.
    orders = torch.arange(rows).roll(1), torch.randperm(rows, generator=generator)
    return all(torch.equal(product(x_ND[order_N]), y_NO[order_N]) for order_N in orders)


def onednn_product(weights: Weights, precision: SearchPrecision) -> Product:
    """The product by oneDNN's kernel, even if it is slow."""
    match precision:
        case "fp32":
            return OneDNNProduct(weights, torch.float32)
        case "bf16":
            return OneDNNProduct(weights, torch.bfloat16)
        case "int8":
            return Int8Product(weights, weight_levels())
        case _:
            assert_never(precision)


@cache
def runs_onednn(precision: SearchPrecision) -> bool:
    """Whether this PyTorch multiplies in a precision by oneDNN on this CPU, tested by a product.

    PyTorch may be built without oneDNN, lack one of its operators, or reject an older CPU.
    """
    ones = torch.ones(16, 16, dtype=torch.float32)
    try:
        found = onednn_product(Weights(ones, ones[0], ones[0]), precision)(ones)
    except (RuntimeError, AttributeError):  # AttributeError: no such operator
        return False
    return torch.allclose(found, 17.0 * ones, rtol=0.01)


@cache
def weight_levels() -> int:
    """Largest integer of int8 weights on this CPU.

    Without VNNI a CPU sums two products in 16 bits, and larger sums saturate. A product of the
    largest inputs and weights shows whether they do.
    """
    inputs, rows = 64, 16
    largest = ZERO_POINT + LEVELS
    x_ND = torch.full((rows, inputs), largest, dtype=torch.uint8)
    weight_OD = torch.full((rows, inputs), LEVELS, dtype=torch.int8)
    packed_OD = torch.ops.onednn.qlinear_prepack(weight_OD, None)
    scale_O = torch.full((rows,), float(LEVELS), dtype=torch.float32)
    zeros_O = torch.zeros(rows, dtype=torch.int64)
    sums_NO = _int8_product(x_ND, (packed_OD, scale_O, zeros_O), None)
    is_exact = bool((sums_NO == float(LEVELS * LEVELS * inputs)).all())
    return LEVELS if is_exact else NARROW_LEVELS
