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
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.weighted_sum import weighted_sum

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
