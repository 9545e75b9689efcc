"""A matrix that a loop over time multiplies with at every step; its gradient is one product.

Autograd would compute a gradient as large as the matrix at every step, and add it to the others: of
T steps over N rows, T products of N rows and T sums, where one product of T N rows does. That one
is also rounded once, where the sums would be rounded T times in bf16.

Dimension letters: N rows, D input channels, O output channels; all may have a batch B before them.
"""

from typing import Any

import torch
from torch import Tensor

Pairs = list[tuple[Tensor, Tensor]]
"""What went into each product, and the gradient of what came out."""


class LoopLinear:
    """y = M x + b for the rows x of a loop, with M [O, D] or, of each sentence its own, [B, O, D].

    Products are in the type of `torch.autocast`, if any. Gradients of M and b can be had once.
    """

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        device, kind = matrix.device.type, matrix.dtype
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)
        self._pairs: Pairs = []
        self._matrix: Tensor
        self._bias: Tensor | None
        self._matrix, self._bias = _Opened.apply(matrix, bias, kind, self._pairs)  # type: ignore[no-untyped-call]

    def __call__(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """[N, O] of x [N, D]; [B, N, O] of [B, N, D] where every sentence has its own matrix.

        `known` [N, O] is added where there is no bias.
        """
        assert known is None or self._bias is None, "one or the other"
        added = self._bias if known is None else known
        y: Tensor = _Product.apply(x, self._matrix, added, self._pairs)  # type: ignore[no-untyped-call]
        return y


class _Opened(torch.autograd.Function):
    """Matrix and bias in the type of the products. Their gradients are due when those of all
    products are, which leave what it takes in `pairs`."""

    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, bias: Tensor | None, kind: torch.dtype, pairs: Pairs
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.kind, ctx.has_bias, ctx.pairs = matrix.dtype, bias is not None, pairs
        return matrix.to(kind, copy=True), None if bias is None else bias.to(kind, copy=True)

    @staticmethod
    def backward(ctx: Any, *nothing: None) -> tuple[Tensor | None, ...]:
        if not ctx.pairs:
            return None, None, None, None
        x, gradient = (torch.cat(parts, dim=-2) for parts in zip(*ctx.pairs, strict=True))
        ctx.pairs.clear()
        of_bias = gradient.sum(-2, dtype=ctx.kind) if ctx.has_bias else None
        return (gradient.mT @ x).to(ctx.kind), of_bias, None, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, added: Tensor | None, pairs: Pairs) -> Tensor:
        ctx.kind, ctx.pairs = x.dtype, pairs
        ctx.is_known = added is not None and added.dim() > 1
        x = x.to(matrix.dtype)
        ctx.save_for_backward(x, matrix)
        return x @ matrix.mT if added is None else torch.addmm(added, x, matrix.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix = ctx.saved_tensors
        ctx.pairs.append((x, gradient))
        of_known = gradient if ctx.is_known else None
        return (gradient @ matrix).to(ctx.kind), None, of_known, None
