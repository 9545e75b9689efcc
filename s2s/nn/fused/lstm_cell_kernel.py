"""The elementwise part of an LSTM's step and its gradient, in Triton.

Equations are those of `s2s.nn.cells.lstm`, computed in fp32. tanh(x) is 2 sigmoid(2x) - 1, for
Triton has no tanh that its interpreter runs as well.

Dimension letters: N rows, H hidden width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Channels of a program, at most."""


@triton.jit
def tanh(x):
    """2 sigmoid(2x) - 1."""
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
def lstm_cell_forward(
    gates,
    c_before,
    h_after,
    c_after,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program for a block of channels of a row."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_there = channel < WIDTH
    gates += row * 4 * WIDTH + channel
    place = row * WIDTH + channel
    i = tl.sigmoid(tl.load(gates, mask=is_there, other=0.0).to(tl.float32))
    f = tl.sigmoid(tl.load(gates + WIDTH, mask=is_there, other=0.0).to(tl.float32))
    g = tanh(tl.load(gates + 2 * WIDTH, mask=is_there, other=0.0).to(tl.float32))
    o = tl.sigmoid(tl.load(gates + 3 * WIDTH, mask=is_there, other=0.0).to(tl.float32))
    c = f * tl.load(c_before + place, mask=is_there, other=0.0).to(tl.float32) + i * g
    tl.store(c_after + place, c, mask=is_there)
    tl.store(h_after + place, (o * tanh(c)).to(h_after.dtype.element_ty), mask=is_there)


@triton.jit
def lstm_cell_backward(
    gates,
    c_before,
    of_h,
    of_c,
    of_gates,
    of_c_before,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    HAS_H: tl.constexpr,
    HAS_C: tl.constexpr,
):
    """As `lstm_cell_forward`; the gates' nonlinearities are computed again."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_there = channel < WIDTH
    gates += row * 4 * WIDTH + channel
    place = row * WIDTH + channel
    i = tl.sigmoid(tl.load(gates, mask=is_there, other=0.0).to(tl.float32))
    f = tl.sigmoid(tl.load(gates + WIDTH, mask=is_there, other=0.0).to(tl.float32))
    g = tanh(tl.load(gates + 2 * WIDTH, mask=is_there, other=0.0).to(tl.float32))
    o = tl.sigmoid(tl.load(gates + 3 * WIDTH, mask=is_there, other=0.0).to(tl.float32))
    before = tl.load(c_before + place, mask=is_there, other=0.0).to(tl.float32)
    tanh_c = tanh(f * before + i * g)
    d_h = tl.zeros([BLOCK], tl.float32)
    if HAS_H:
        d_h = tl.load(of_h + place, mask=is_there, other=0.0).to(tl.float32)
    d_c = d_h * o * (1.0 - tanh_c * tanh_c)
    if HAS_C:
        d_c += tl.load(of_c + place, mask=is_there, other=0.0).to(tl.float32)
    kind = of_gates.dtype.element_ty
    of_gates += row * 4 * WIDTH + channel
    tl.store(of_gates, (d_c * g * i * (1.0 - i)).to(kind), mask=is_there)
    tl.store(of_gates + WIDTH, (d_c * before * f * (1.0 - f)).to(kind), mask=is_there)
    tl.store(of_gates + 2 * WIDTH, (d_c * i * (1.0 - g * g)).to(kind), mask=is_there)
    tl.store(of_gates + 3 * WIDTH, (d_h * tanh_c * o * (1.0 - o)).to(kind), mask=is_there)
    tl.store(of_c_before + place, (d_c * f).to(of_c_before.dtype.element_ty), mask=is_there)


def _launch(width: int) -> tuple[int, int, int]:
    """Blocks of a row, channels of a block, warps."""
    block = min(BLOCK, triton.next_power_of_2(width))
    return triton.cdiv(width, block), block, max(1, block // 256)


def forward(gates_NG: Tensor, c_NH: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c), [N, H] each: h in the type of the gates, c in fp32.

    Gates [N, 4H] and c are contiguous, in fp32 or bf16, on one device.
    """
    rows, width = c_NH.shape
    h_NH = gates_NG.new_empty(rows, width)
    after_NH = torch.empty(rows, width, dtype=torch.float32, device=c_NH.device)
    blocks, block, warps = _launch(width)
    if rows:
        lstm_cell_forward[(rows, blocks)](
            gates_NG, c_NH, h_NH, after_NH, WIDTH=width, BLOCK=block, num_warps=warps
        )
    return h_NH, after_NH


def backward(
    gates_NG: Tensor, c_NH: Tensor, of_h: Tensor | None, of_c: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradients of `forward`'s arguments, in their types, from those of h and c; contiguous."""
    rows, width = c_NH.shape
    of_gates, of_before = torch.empty_like(gates_NG), torch.empty_like(c_NH)
    blocks, block, warps = _launch(width)
    if rows:
        lstm_cell_backward[(rows, blocks)](
            *(gates_NG, c_NH, of_before if of_h is None else of_h),
            *(of_before if of_c is None else of_c, of_gates, of_before),
            WIDTH=width,
            BLOCK=block,
            HAS_H=of_h is not None,
            HAS_C=of_c is not None,
            num_warps=warps,
        )
    return of_gates, of_before
