"""Cross-entropy on a GPU by a kernel in Triton, its output layer included.

The logits of a chunk of tokens become their gradient in place, are multiplied at once for the
gradients of readouts and parameters, and their memory is that of the next chunk's: no array
[N, V] exists. The parameters' gradients are summed over chunks in fp32.

Dimension letters: N tokens, C tokens of a chunk, K tokens that soft targets have, E readout width,
V vocabulary, W = V and padding to a multiple of `MULTIPLE`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.fused.choice import passes

CHUNK = 8192
"""Tokens whose logits are worked on at a time. It only bounds memory."""

MULTIPLE = 64
"""Columns of logits are a multiple of this: matrix products of other widths are slow on a GPU."""

Soft = tuple[Tensor, Tensor, float]
"""Ids, probabilities and share of soft targets (`s2s.training.loss.cross_entropy.SoftTargets`)."""


class _FusedLinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        readout_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        smoothing: float,
        soft: Soft | None,
    ) -> tuple[Tensor, Tensor]:
        readout_NE = readout_NE.contiguous()
        output_WE = _padded(weight_VE.to(readout_NE.dtype))
        whole_W = torch.zeros(len(output_WE), device=bias_V.device)
        gradients = torch.empty_like(readout_NE), torch.zeros_like(output_WE, dtype=whole_W.dtype)
        losses_2N = whole_W.new_empty(2, len(targets_N))
        for rows, losses_2C, gradient_CW in _chunks(
            readout_NE, output_WE, bias_V, targets_N, (smoothing, soft, True)
        ):
            losses_2N[:, rows] = losses_2C
            torch.mm(gradient_CW, output_WE, out=gradients[0][rows])
            gradients[1].add_(torch.mm(gradient_CW.t(), readout_NE[rows]))
            whole_W += gradient_CW.sum(0, dtype=whole_W.dtype)
        words = len(bias_V)
        ctx.save_for_backward(gradients[0], gradients[1][:words], whole_W[:words])
        loss, nll = losses_2N.sum(1).unbind(0)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor | None, ...]:
        readout_NE, weight_VE, bias_V = ctx.saved_tensors
        scale = scales[0]
        readout_NE = readout_NE * scale.to(readout_NE.dtype)
        return readout_NE, weight_VE * scale, bias_V * scale, None, None, None


def _padded(weight_VE: Tensor) -> Tensor:
    """[W, E]; rows of padding are zero."""
    extra = -len(weight_VE) % MULTIPLE
    return F.pad(weight_VE, (0, 0, 0, extra)) if extra else weight_VE.contiguous()


def _chunks(
    readout_NE: Tensor,
    output_WE: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    how: tuple[float, Soft | None, bool],
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, float32 [2, C] of loss and nll, and the logits or their gradient [C, W], of each chunk;
    they are overwritten by the next. `how` are smoothing, soft targets, and whether the gradient is
    wanted."""
    from s2s.nn.fused.cross_entropy_kernel import Shares, cross_entropy

    smoothing, soft, writes_gradient = how
    mix = 0.0 if soft is None else soft[2]
    shares = Shares((1.0 - mix) * (1.0 - smoothing), (1.0 - mix) * smoothing, mix)
    num_tokens = len(targets_N)
    memory_CW = readout_NE.new_empty(min(CHUNK, num_tokens), len(output_WE))
    for start in range(0, num_tokens, CHUNK):
        rows = slice(start, min(start + CHUNK, num_tokens))
        logits_CW = memory_CW[: rows.stop - start]
        torch.mm(readout_NE[rows], output_WE.t(), out=logits_CW)
        own = None if soft is None else (soft[0][rows], soft[1][rows])
        losses_2C = cross_entropy(
            *(logits_CW, bias_V, targets_N[rows], shares, own), writes_gradient=writes_gradient
        )
        yield rows, losses_2C, logits_CW


def fused_linear_cross_entropy(  # noqa: PLR0917 (as the function of autograd has them)
    readout_NE: Tensor,
    weight_VE: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    smoothing: float,
    soft: Soft | None = None,
) -> tuple[Tensor, Tensor]:
    """(smoothed, nll) of `s2s.training.loss.cross_entropy.linear_cross_entropy`, sums over tokens.

    Readouts are in fp32 or bf16, parameters in float32; needs `runs_fused`.
    """
    targets_N = targets_N.contiguous()
    if soft is not None:
        soft = (soft[0].contiguous(), soft[1].contiguous(), soft[2])
    tensors = (readout_NE, weight_VE, bias_V)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        sums: tuple[Tensor, Tensor] = _FusedLinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            *tensors, targets_N, smoothing, soft
        )
        return sums
    output_WE = _padded(weight_VE.to(readout_NE.dtype))
    how = (smoothing, soft, False)
    found = [losses for _, losses, _ in _chunks(readout_NE, output_WE, bias_V, targets_N, how)]
    loss, nll = (torch.cat(found, 1) if found else bias_V.new_zeros(2, 1)).sum(1).unbind(0)
    return loss, nll


def runs_fused(readout_NE: Tensor, vocabulary: int) -> bool:
    """Whether the kernel runs where readouts are, in their type, for so many words."""

    def own_trial(device: torch.device, kind: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        return trial(device, kind, vocabulary)

    return passes("cross-entropy", readout_NE.device, readout_NE.dtype, (vocabulary,), own_trial)


def trial(
    device: torch.device, kind: torch.dtype, vocabulary: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Losses and gradients of a few rows, with soft targets and without."""
    from s2s.nn.fused.cross_entropy_kernel import Shares, cross_entropy

    rows, generator = 5, torch.Generator().manual_seed(1)
    width = vocabulary + -vocabulary % MULTIPLE
    logits = (3.0 * torch.randn(rows, width, generator=generator)).to(kind).to(device)
    bias = torch.randn(vocabulary, generator=generator).to(device)
    targets = torch.randint(vocabulary, (rows,), generator=generator).to(device)
    ids = torch.randint(vocabulary, (rows, 3), generator=generator).to(device)
    probabilities = torch.rand(rows, 3, generator=generator).softmax(1).to(device)
    for shares, soft in (
        (Shares(0.9, 0.1, 0.0), None),
        (Shares(0.45, 0.05, 0.5), (ids, probabilities)),
    ):
        found = logits.clone()
        losses = cross_entropy(found, bias, targets, shares, soft, writes_gradient=True)
        leaf = logits[:, :vocabulary].float().requires_grad_()
        logs = F.log_softmax(leaf + bias, dim=-1)
        nll = -logs.gather(1, targets.unsqueeze(1)).squeeze(1)
        loss = shares.target * nll - shares.uniform * logs.mean(1)
        loss = loss - shares.soft * (logs.gather(1, ids) * probabilities).sum(1)
        yield losses, torch.stack((loss, nll))
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        yield found, F.pad(gradient, (0, width - vocabulary))
