"""Matrix products in int8: scales of weights and inputs, and the kernels of oneDNN and FBGEMM.

Dimension letters: N rows, D input channels, O output channels.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from s2s.nn.matmul import NO_POST_OP, Product, Weights

LEVELS = 127
"""Largest integer of int8 inputs and weights."""


NARROW_LEVELS = 64
"""The same of weights on a CPU that sums two products in 16 bits: 2 * 255 * 64 < 2^15."""


ZERO_POINT = 128
"""The unsigned input of an int8 product that represents 0. oneDNN has fast kernels for signed
inputs on CPUs with AMX only."""


class Integers:
    """Weights in int8, and the scales of both sides of a product."""

    def __init__(self, weights: Weights, levels: int) -> None:
        """`levels` is the largest integer of the weights.

        Fewer than `LEVELS` are a second rounding: stored weights, which have had the first one
        (`s2s.nn.stored_weights`), then give the same integers as those of training.
        """
        least = torch.finfo(torch.float32).tiny
        bound_D = weights.bound_D.float()
        reach_OD = weights.weight_OD.float() * bound_D
        self.scale_O = reach_OD.abs().amax(1).clamp_min(least) / LEVELS
        whole_OD = (reach_OD / self.scale_O.unsqueeze(1)).round_()
        if levels < LEVELS:
            whole_OD = whole_OD.mul_(levels / LEVELS).round_()
            self.scale_O *= LEVELS / levels
        self.whole_OD = whole_OD.to(torch.int8)
        self.zeros_O = torch.zeros(len(whole_OD), dtype=torch.int64)
        self.levels_D = LEVELS / bound_D.clamp_min(least)
        """What an input is multiplied by before it is rounded."""


class OneDNNInt8Product:
    """The product in int8 on a CPU, by oneDNN."""

    def __init__(self, weights: Weights, levels: int) -> None:
        """`levels` is the largest integer of the weights."""
        of = Integers(weights, levels)
        self.scale_O, self.zeros_O, self.levels_D = of.scale_O, of.zeros_O, of.levels_D
        self.weight_OD = torch.ops.onednn.qlinear_prepack(of.whole_OD, None)
        self.bias_O = weights.bias_O.float()

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        whole_ND = (x_ND * self.levels_D).round_().clamp_(-LEVELS, LEVELS).to(torch.int8)
        # Inverting the sign bit adds the zero point.
        unsigned_ND = whole_ND.view(torch.uint8).bitwise_xor_(ZERO_POINT)
        return _int8_product(unsigned_ND, (self.weight_OD, self.scale_O, self.zeros_O), self.bias_O)


class FBGEMMProduct:
    """The product in int8 on an x86 CPU, by FBGEMM, which rounds the inputs itself."""

    def __init__(self, weights: Weights, levels: int) -> None:
        """`levels` is the largest integer of the weights. Raises RuntimeError or AttributeError
        where this PyTorch has no FBGEMM."""
        of = Integers(weights, levels)
        self.levels_D = of.levels_D
        scale_O = of.scale_O.double() / LEVELS
        with _engine_of_fbgemm(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch plans to remove tensors of this type
            whole_OD = torch._make_per_channel_quantized_tensor(of.whole_OD, scale_O, of.zeros_O, 0)
            self.weight_OD = torch.ops.quantized.linear_prepack(whole_OD, weights.bias_O.float())

    def __call__(self, x_ND: Tensor) -> Tensor:
        """See `Product`."""
        y_NO: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x_ND * self.levels_D, 1.0, ZERO_POINT, self.weight_OD
        )
        return y_NO


@contextmanager
def _engine_of_fbgemm() -> Iterator[None]:
    """FBGEMM as the library that packs weights."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def int8_product(weights: Weights) -> Product:
    """The product in int8 by the faster library.

    Without VNNI, oneDNN packs the weights at every call. FBGEMM has packed them before.
    """
    levels = weight_levels()
    if levels == NARROW_LEVELS and runs_fbgemm():
        return FBGEMMProduct(weights, levels)
    return OneDNNInt8Product(weights, levels)


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


@cache
def runs_fbgemm() -> bool:
    """Whether this PyTorch multiplies in int8 by FBGEMM, tested with the largest integers.

    PyTorch has it on x86 CPUs alone, and newer versions may lack its operators.
    """
    weight_OD = torch.full((16, 64), float(NARROW_LEVELS), dtype=torch.float32)
    bound_D = torch.full((64,), float(LEVELS), dtype=torch.float32)
    weights = Weights(weight_OD, torch.zeros(16, dtype=torch.float32), bound_D)
    try:
        found = FBGEMMProduct(weights, NARROW_LEVELS)(torch.cat((bound_D, -bound_D)).view(2, 64))
    except (RuntimeError, AttributeError):  # AttributeError: no such operator
        return False
    expected = torch.full((16,), float(LEVELS * NARROW_LEVELS * 64), dtype=torch.float32)
    return torch.equal(found, torch.stack((expected, -expected)))
