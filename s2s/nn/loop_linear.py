"""A linear layer in a loop over time, whose weight gradient is one product for all steps.

For T steps over N rows, autograd would compute T products of N rows, each a gradient as large as
the matrix, and add them up. One product over T*N rows gives the same, and in bf16 is rounded once
instead of T times.

Dimension letters: N rows, D input channels, O output channels; a batch B may precede them.
"""

from typing import Any

import torch
from torch import Tensor

Pairs = list[tuple[Tensor, Tensor]]
"""The input of each product and the gradient of its output."""


class LoopLinear:
    """y = M x + b for the rows x of a loop, with M [O, D], or [B, O, D] with one for each sentence.

    Products are in the type of `torch.autocast`, if it is on. The backward pass works once.
    """

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        device, kind = matrix.device.type, matrix.dtype
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)
        self._pairs: Pairs = []
        self._matrix: Tensor
        self._bias: Tensor | None
        self._matrix, self._bias = _SharedMatrix.apply(matrix, bias, kind, self._pairs)  # type: ignore[no-untyped-call]

    @property
    def matrix(self) -> Tensor:
        """M in the type of the products. What multiplies it by itself, as a function of autograd,
        returns no gradient of it, but appends to `pairs` in its backward pass."""
        return self._matrix

    @property
    def pairs(self) -> Pairs:
        """See `Pairs`; of the backward pass that is running."""
        return self._pairs

    @property
    def kind(self) -> torch.dtype:
        """The type of the products."""
        return self._matrix.dtype

    def __call__(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """[N, O] of x [N, D]; [B, N, O] of [B, N, D] where every sentence has its own matrix.

        `addend` [N, O] is added in the place of a bias.
        """
        assert addend is None or self._bias is None, "one or the other"
        added = self._bias if addend is None else addend
        y: Tensor = _Product.apply(x, self._matrix, added, self._pairs)  # type: ignore[no-untyped-call]
        return y


class _SharedMatrix(torch.autograd.Function):
    """Matrix and bias in the type of the products. Autograd runs its backward pass after those of
    all products, which append to `pairs`."""

    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, bias: Tensor | None, kind: torch.dtype, pairs: Pairs
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.kind, ctx.has_bias, ctx.pairs = matrix.dtype, bias is not None, pairs
        return matrix.to(kind, copy=True), None if bias is None else bias.to(kind, copy=True)

    @staticmethod
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, ...]:
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
        ctx.has_addend = added is not None and added.dim() > 1
        x = x.to(matrix.dtype)
        ctx.save_for_backward(x, matrix)
        return x @ matrix.mT if added is None else torch.addmm(added, x, matrix.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix = ctx.saved_tensors
        ctx.pairs.append((x, gradient))
        of_addend = gradient if ctx.has_addend else None
        return (gradient @ matrix).to(ctx.kind), None, of_addend, None
