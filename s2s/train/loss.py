"""Cross-entropy over a large vocabulary, its output layer included.

Dimension letters: N tokens, C tokens of a chunk, E readout width, V vocabulary.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

CPU_CHUNK = 64
"""Tokens whose logits are worked on at a time: 64 x 8,000 float32 stay in a core's L2 cache."""

ROW_MULTIPLE = 128
"""Products over all tokens have a multiple of this many rows: the number of tokens differs from
batch to batch, and compiling a CPU kernel for each would cost more time and memory than its use."""

CUDA_CHUNK = 8192
"""On a GPU a chunk only bounds memory."""


class Loss(NamedTuple):
    """Sums over tokens; divide by their number to average."""

    smoothed: Tensor
    """Label-smoothed cross-entropy, the quantity that is minimized; differentiable."""
    nll: Tensor
    """Negative log-likelihood of the targets, no gradient."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes the gradient of the logits chunk by chunk while their values are in the cache.

    The textbook order (all logits, log-softmax, its gradient) moves ten arrays [N, V] of float32
    through memory and spends more than half of a training step there.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        readout_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        smoothing: float,
    ) -> tuple[Tensor, Tensor]:
        chunk = CUDA_CHUNK if readout_NE.is_cuda else CPU_CHUNK
        kind = readout_NE.dtype
        output_EV = weight_VE.to(kind).t()
        num_tokens = len(targets_N)
        extra = -num_tokens % ROW_MULTIPLE
        readout_NE = torch.nn.functional.pad(readout_NE, (0, 0, 0, extra))
        gradient_NV = torch.empty(len(readout_NE), len(bias_V), dtype=kind, device=bias_V.device)
        gradient_NV[num_tokens:] = 0
        bias_gradient_V = torch.zeros_like(bias_V)
        totals = torch.zeros(2, device=bias_V.device)
        for start in range(0, num_tokens, chunk):
            rows = slice(start, min(start + chunk, num_tokens))
            logits_CV = torch.mm(readout_NE[start : start + chunk], output_EV)
            logits_CV = logits_CV[: rows.stop - start].float().add_(bias_V)
            totals += _chunk_loss_and_gradient(logits_CV, targets_N[rows], smoothing)
            bias_gradient_V += logits_CV.sum(0)
            gradient_NV[rows] = logits_CV
        ctx.num_tokens = num_tokens
        ctx.save_for_backward(readout_NE, output_EV, gradient_NV, bias_gradient_V)
        ctx.mark_non_differentiable(totals[1])
        return totals[0], totals[1]

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        readout_NE, output_EV, gradient_NV, bias_gradient_V = ctx.saved_tensors
        scale = scales[0]
        readout_gradient = torch.mm(gradient_NV, output_EV.t())[: ctx.num_tokens]
        readout_gradient = readout_gradient * scale.to(readout_NE.dtype)
        weight_gradient = torch.mm(gradient_NV.t(), readout_NE).float() * scale
        return readout_gradient, weight_gradient, bias_gradient_V * scale, None, None


def _chunk_loss_and_gradient(logits_CV: Tensor, targets_C: Tensor, smoothing: float) -> Tensor:
    """Sums (smoothed loss, nll) of a chunk; turns its logits into their gradient in place."""
    vocabulary = logits_CV.shape[1]
    target_C1 = targets_C.unsqueeze(1)
    said_C1 = logits_CV.gather(1, target_C1)
    mean_C1 = logits_CV.mean(dim=1, keepdim=True) if smoothing else said_C1
    top_C1 = logits_CV.amax(dim=1, keepdim=True)
    sums_C1 = logits_CV.sub_(top_C1).exp_().sum(dim=1, keepdim=True)
    normalizer_C1 = sums_C1.log() + top_C1
    nll = (normalizer_C1 - said_C1).sum()
    uniform = (normalizer_C1 - mean_C1).sum()
    logits_CV.div_(sums_C1)
    if smoothing:
        logits_CV.sub_(smoothing / vocabulary)
    logits_CV.scatter_add_(1, target_C1, torch.full_like(said_C1, smoothing - 1.0))
    return torch.stack(((1.0 - smoothing) * nll + smoothing * uniform, nll))


def linear_cross_entropy(
    readout_NE: Tensor, weight_VE: Tensor, bias_V: Tensor, targets_N: Tensor, smoothing: float = 0.0
) -> Loss:
    """Loss of predicting `targets_N` (int64) from readouts through logits = W r + b, summed.

    With smoothing e the target distribution is (1 - e) on the target plus e / V everywhere
    (Szegedy et al. 2016, section 7), as `torch.nn.functional.cross_entropy` has it. Products run
    in the type of `readout_NE`, everything else in float32.
    """
    sums = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        readout_NE, weight_VE, bias_V, targets_N, smoothing
    )
    return Loss(*sums)
