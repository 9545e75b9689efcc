"""The elementwise part of an LSTM's step in one kernel, for loops over time of training on a GPU.

PyTorch takes nine kernels for it and fourteen for its gradient. c stays in fp32 from step to step,
where autocast has it in bf16.

Dimension letters: N rows, H hidden width, G = 4H.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from s2s.nn.fused.choice import passes

LSTMCell = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(h, c), each [N, H], from the gates before their nonlinearities [N, 4H] and the last c."""


class _FusedLSTMCell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates_NG: Tensor, c_NH: Tensor) -> tuple[Tensor, Tensor]:
        from s2s.nn.fused.lstm_cell_kernel import forward

        gates_NG, c_NH = gates_NG.contiguous(), c_NH.contiguous()
        ctx.save_for_backward(gates_NG, c_NH)
        ctx.set_materialize_grads(False)
        return forward(gates_NG, c_NH)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor]:
        from s2s.nn.fused.lstm_cell_kernel import backward

        gates_NG, c_NH = ctx.saved_tensors
        of_h, of_c = (None if one is None else one.contiguous() for one in gradients)
        return backward(gates_NG, c_NH, of_h, of_c)


def fused_lstm_cell(gates_NG: Tensor, c_NH: Tensor) -> tuple[Tensor, Tensor]:
    """See `LSTMCell`: h in the type of the gates, fp32 or bf16, and c in fp32."""
    found: tuple[Tensor, Tensor] = _FusedLSTMCell.apply(gates_NG, c_NH)  # type: ignore[no-untyped-call]
    return found


def choose_lstm_cell(
    device: torch.device, kind: torch.dtype, width: int, plain: LSTMCell
) -> LSTMCell:
    """`fused_lstm_cell` where its kernel runs and agrees with the `plain` one, else that one.

    `kind` is the type of the gates.
    """

    def own_trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        return trial(device, kind, width, plain)

    return fused_lstm_cell if passes("LSTM cell", device, kind, (width,), own_trial) else plain


def trial(
    device: torch.device, kind: torch.dtype, width: int, plain: LSTMCell
) -> Iterator[tuple[Tensor, Tensor]]:
    """h and c of two steps, and gradients that come from h, from c and from both."""
    rows, generator = 3, torch.Generator().manual_seed(1)
    first, second, state, of_h, of_c = (
        torch.randn(rows, size, generator=generator).to(kind).to(device)
        for size in (4 * width, 4 * width, width, width, width)
    )

    def steps(cell: LSTMCell, kind: torch.dtype) -> list[Tensor]:
        leaves = [one.to(kind).requires_grad_() for one in (first, second, state)]
        middle = cell(leaves[0], leaves[2])
        last = cell(leaves[1], middle[1])
        loss = (last[0] * of_h).sum() + (middle[0] * of_c).sum()
        return [*middle, *last, *torch.autograd.grad(loss, leaves)]

    found = steps(fused_lstm_cell, kind)
    yield from zip(found, steps(plain, torch.float32), strict=True)
    loss = fused_lstm_cell(first, state.requires_grad_())[1] * of_c
    expected = torch.sigmoid(first[:, width : 2 * width].float()) * of_c
    yield torch.autograd.grad(loss.sum(), state)[0], expected
