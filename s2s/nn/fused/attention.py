"""A step of attention in one kernel, for loops over time of training on a GPU.

PyTorch takes some ten kernels for it. Those gradients that one product for all steps gives (of keys
and values, `LoopLinear`) are left to that product; those of the additive score's keys are summed in
the kernel, so that its hidden layer [B, S, H] is never stored.

Dimension letters: B sentences, S source time, H width of queries and keys, D width of values.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from s2s.nn.fused.choice import passes
from s2s.nn.loop_linear import LoopLinear, Pairs

AttentionStep = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""Contexts [B, D], weights and scores float32 [B, S], from queries [B, H]."""

LONGEST = 512
"""Positions of the longest source that the kernels take."""


class _Loop(NamedTuple):
    """What all steps of a loop share."""

    mask_BS: Tensor
    """int8."""
    values: Pairs
    """See `LoopLinear.pairs`."""


class _Bilinear(torch.autograd.Function):
    """Keys [B, S, H] and values [B, D, S] are matrices of a `LoopLinear`, which computes their
    gradients."""

    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        query_BH: Tensor,
        keys_BSH: Tensor,
        values_BDS: Tensor,
        loop: _Loop,
        keys: Pairs,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        from s2s.nn.fused.attention_kernel import forward

        ctx.kind, ctx.loop, ctx.keys, ctx.scale = query_BH.dtype, loop, keys, scale
        query_BH = query_BH.to(keys_BSH.dtype).contiguous()
        found = forward(query_BH, keys_BSH, values_BDS.mT, loop.mask_BS, scale)
        ctx.save_for_backward(query_BH, keys_BSH, values_BDS, found[1])
        ctx.set_materialize_grads(False)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        from s2s.nn.fused.attention_kernel import backward_bilinear

        query_BH, keys_BSH, values_BDS, weights_BS = ctx.saved_tensors
        given = _contiguous(gradients, values_BDS)
        values_BSD = values_BDS.mT
        of_query, of_products = backward_bilinear(
            keys_BSH, values_BSD, weights_BS, given, ctx.scale
        )
        ctx.keys.append((query_BH.unsqueeze(1), of_products.unsqueeze(1)))
        _note_context(ctx.loop, weights_BS, given[0])
        return of_query.to(ctx.kind), None, None, None, None, None


def _contiguous(
    gradients: tuple[Tensor | None, ...], values_BDS: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of contexts (zero if there are none), weights and scores."""
    of_context, *others = (None if one is None else one.contiguous() for one in gradients)
    if of_context is None:
        of_context = values_BDS.new_zeros(values_BDS.shape[:2])
    of_weights, of_scores = others
    return of_context, of_weights, of_scores


def _note_context(loop: _Loop, weights_BS: Tensor, of_context_BD: Tensor) -> None:
    """For the gradient of the values."""
    weights_BS = weights_BS.to(of_context_BD.dtype)
    loop.values.append((weights_BS.unsqueeze(1), of_context_BD.unsqueeze(1)))


class _Sums:
    """Gradients of keys, float32 [B, S, H], and of the vector, of each sentence float32 [B, H],
    while a backward pass sums them over steps."""

    def __init__(self) -> None:
        self.made: tuple[Tensor, Tensor] | None = None

    def for_keys(self, keys_BSH: Tensor) -> tuple[Tensor, Tensor]:
        """The sums, of zeros at first."""
        if self.made is None:
            of_keys = torch.zeros_like(keys_BSH, dtype=torch.float32)
            self.made = of_keys, torch.zeros_like(of_keys[:, 0])
        return self.made


class _SharedKeys(torch.autograd.Function):
    """Keys in the type of the loop and the vector in fp32, both contiguous. Autograd runs its
    backward pass after those of all steps, which add to `sums`."""

    @staticmethod
    def forward(
        ctx: Any, keys_BSH: Tensor, vector_H: Tensor, kind: torch.dtype, sums: _Sums
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.sums, ctx.kinds = sums, (keys_BSH.dtype, vector_H.dtype)
        copy_BSH = torch.empty(keys_BSH.shape, dtype=kind, device=keys_BSH.device)
        return copy_BSH.copy_(keys_BSH), vector_H.float().clone()

    @staticmethod
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, ...]:
        if ctx.sums.made is None:
            return None, None, None, None
        of_keys, of_vector = ctx.sums.made
        ctx.sums.made = None
        return of_keys.to(ctx.kinds[0]), of_vector.sum(0).to(ctx.kinds[1]), None, None


class _Additive(torch.autograd.Function):
    """Keys and vector are those of `_SharedKeys`; values as of `_Bilinear`."""

    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        query_BH: Tensor,
        keys_BSH: Tensor,
        vector_H: Tensor,
        values_BDS: Tensor,
        loop: _Loop,
        sums: _Sums,
    ) -> tuple[Tensor, Tensor, Tensor]:
        from s2s.nn.fused.attention_kernel import forward

        ctx.kind, ctx.loop, ctx.sums = query_BH.dtype, loop, sums
        query_BH = query_BH.to(keys_BSH.dtype).contiguous()
        found = forward(query_BH, keys_BSH, values_BDS.mT, loop.mask_BS, vector_H)
        ctx.save_for_backward(query_BH, keys_BSH, vector_H, values_BDS, found[1])
        ctx.set_materialize_grads(False)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        from s2s.nn.fused.additive_kernel import backward_additive

        query_BH, keys_BSH, vector_H, values_BDS, weights_BS = ctx.saved_tensors
        given = _contiguous(gradients, values_BDS)
        tensors = (query_BH, keys_BSH, values_BDS.mT, vector_H)
        of_query = backward_additive(tensors, weights_BS, given, ctx.sums.for_keys(keys_BSH))
        _note_context(ctx.loop, weights_BS, given[0])
        return of_query.to(ctx.kind), None, None, None, None, None


def bilinear_step(
    keys: LoopLinear, values: LoopLinear, mask_BS: Tensor, scale: float
) -> AttentionStep:
    """Of score(q, k) = scale q . k; keys are [B, S, H], values [B, D, S], the mask is bool."""
    loop = _Loop(mask_BS.to(torch.int8).contiguous(), values.pairs)

    def step(query_BH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = (query_BH, keys.matrix, values.matrix, loop, keys.pairs, scale)
        found: tuple[Tensor, Tensor, Tensor] = _Bilinear.apply(*given)  # type: ignore[no-untyped-call]
        return found

    return step


def additive_step(
    keys_BSH: Tensor,
    values: LoopLinear,
    mask_BS: Tensor,
    query_HQ: Tensor,
    vector_H: Tensor,
) -> AttentionStep:
    """Of score(q, k) = v . tanh(W q + k); values are [B, D, S], the mask is bool."""
    loop = _Loop(mask_BS.to(torch.int8).contiguous(), values.pairs)
    product, sums = LoopLinear(query_HQ), _Sums()
    shared = _SharedKeys.apply(keys_BSH, vector_H, values.kind, sums)  # type: ignore[no-untyped-call]

    def step(query_BQ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = (product(query_BQ), *shared, values.matrix, loop, sums)
        found: tuple[Tensor, Tensor, Tensor] = _Additive.apply(*given)  # type: ignore[no-untyped-call]
        return found

    return step


def _suits(vectors: tuple[Tensor, ...]) -> bool:
    """Whether the kernels read the layout of keys and values [B, S, ...]."""
    return all(one.stride(-1) == 1 and one.shape[1] <= LONGEST for one in vectors)


def choose_bilinear_step(
    keys: LoopLinear, values: LoopLinear, mask_BS: Tensor, scale: float
) -> AttentionStep | None:
    """`bilinear_step` where its kernels run and agree with PyTorch's operations, else None."""
    tensors = keys.matrix, values.matrix.mT

    def own_trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        return trial(device, kind, (tensors[0].shape[2], tensors[1].shape[2]), is_additive=False)

    sizes = tuple(one.shape[2] for one in tensors)
    is_used = _suits(tensors) and passes(
        "dot attention", mask_BS.device, keys.kind, sizes, own_trial
    )
    return bilinear_step(keys, values, mask_BS, scale) if is_used else None


def choose_additive_step(
    keys_BSH: Tensor, values: LoopLinear, mask_BS: Tensor, query_HQ: Tensor, vector_H: Tensor
) -> AttentionStep | None:
    """`additive_step` where its kernels run and agree with PyTorch's operations, else None."""
    values_BSD = values.matrix.mT
    sizes = (keys_BSH.shape[2], values_BSD.shape[2])

    def own_trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        return trial(device, kind, sizes, is_additive=True)

    is_used = _suits((values_BSD,)) and keys_BSH.shape[1] <= LONGEST
    if not is_used or not passes(
        "additive attention", mask_BS.device, values.kind, sizes, own_trial
    ):
        return None
    return additive_step(keys_BSH, values, mask_BS, query_HQ, vector_H)


def trial(
    device: torch.device,
    kind: torch.dtype,
    sizes: tuple[int, int],
    *,
    is_additive: bool,
    times: Sequence[int] = (7, 130),
) -> Iterator[tuple[Tensor, Tensor]]:
    """Contexts, weights and scores of two steps over sources of some lengths, and gradients, each
    beside the equations'. `sizes` are the widths of keys and values."""
    generator, (width, value_width) = torch.Generator().manual_seed(1), sizes
    for time in times:
        shapes = [(2, 3, width), (3, time, width), (3, time, value_width), (width, width), (width,)]
        drawn = [torch.randn(shape, generator=generator) for shape in shapes]
        drawn[1] /= 1.0 if is_additive else width**0.5
        drawn[3] /= width**0.5
        leaves = [one.to(kind).to(device).requires_grad_() for one in drawn]
        lengths = torch.tensor([1, max(1, time - 3), time]).unsqueeze(1)
        mask_BS = (torch.arange(time) < lengths).to(device)
        seen = [
            torch.randn(2, 3, size, generator=generator).to(device) for size in (value_width, time)
        ]
        values = LoopLinear(leaves[2].mT)
        if is_additive:
            step = additive_step(leaves[1], values, mask_BS, leaves[3], leaves[4])
        else:
            step = bilinear_step(LoopLinear(leaves[1]), values, mask_BS, 0.5)
        found = [torch.stack(parts) for parts in zip(*map(step, leaves[0].unbind(0)), strict=True)]
        exact = [one.detach().float().requires_grad_() for one in leaves]
        expected = _by_equations(exact, mask_BS, is_additive=is_additive)
        needed = 5 if is_additive else 3
        yield from zip(
            _with_gradients(found, leaves[:needed], seen),
            _with_gradients(expected, exact[:needed], seen),
            strict=True,
        )


def _by_equations(leaves: list[Tensor], mask_BS: Tensor, *, is_additive: bool) -> list[Tensor]:
    """Contexts, weights and scores of all queries [T, B, H]."""
    query_TBH, keys_BSH, values_BSD, matrix_HH, vector_H = leaves
    if is_additive:
        asked_TBH = query_TBH @ matrix_HH.mT
        scores_TBS = torch.tanh(asked_TBH.unsqueeze(2) + keys_BSH) @ vector_H
    else:
        scores_TBS = 0.5 * (keys_BSH @ query_TBH.unsqueeze(-1)).squeeze(-1)
    weights_TBS = scores_TBS.masked_fill(~mask_BS, -torch.inf).softmax(-1)
    contexts_TBD = (weights_TBS.unsqueeze(-1) * values_BSD).sum(2)
    return [contexts_TBD, weights_TBS, scores_TBS]


def _with_gradients(found: list[Tensor], leaves: list[Tensor], seen: list[Tensor]) -> list[Tensor]:
    """`found`, and the gradients of a sum that reads all of it."""
    contexts, weights, scores = (part.float() for part in found)
    loss = (contexts * seen[0]).sum() + (weights * seen[1]).sum() + (0.1 * scores * seen[1]).sum()
    return [*found, *torch.autograd.grad(loss, leaves)]
