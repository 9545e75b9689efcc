"""Reversal of each sequence of a padded batch, for a backward layer."""

import torch
from torch import Tensor


class _Permute(torch.autograd.Function):
    """Rows of x permuted by an order that is its own inverse, so that the gradient is permuted too.

    The gradient of `index_select` would accumulate row by row, several times slower.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient.contiguous().index_select(0, order), None


def reversal(lengths_B: Tensor, time: int) -> Tensor:
    """Order int64 [T*B] that reverses each sentence of a [T*B, D] array and leaves padding."""
    t_T1 = torch.arange(time, device=lengths_B.device).unsqueeze(1)
    mirrored_TB = lengths_B.unsqueeze(0) - 1 - t_T1
    source_TB = torch.where(mirrored_TB >= 0, mirrored_TB, t_T1)
    batch = lengths_B.shape[0]
    column_B = torch.arange(batch, device=lengths_B.device)
    return (source_TB * batch + column_B).reshape(-1)


def reverse(x_TBD: Tensor, order: Tensor) -> Tensor:
    """`x_TBD` with each sentence reversed by an `order` of `reversal`; twice gives `x_TBD`."""
    time, batch, width = x_TBD.shape
    flat: Tensor = _Permute.apply(x_TBD.reshape(time * batch, width), order)  # type: ignore[no-untyped-call]
    return flat.view(time, batch, width)
