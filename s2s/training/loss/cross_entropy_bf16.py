"""Cross-entropy in bf16 on a CPU, where training spends most on it.

Logits stay in bf16, as the product gives them, and a chunk's softmax is their one pass. So each
probability is rounded by up to 2^-9 of itself, which is less than the rounding of its logit does.
With smoothing e the logits' gradient is P - (1 - e) onehot - e / V. The last term, the same for all
tokens, is no pass over the vocabulary either: it is a vector added to the parameters' gradients.
Of soft targets Q with share m, it is P - (1 - m) ((1 - e) onehot + e / V) - m Q.

Dimension letters: N tokens, C tokens of a chunk, K tokens that soft targets have, E readout width,
V vocabulary, R rows.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 128
"""Tokens whose logits are worked on at a time: 128 x 8,000 in bf16 stay in a core's L2 cache."""

BIAS_ROWS = 16
"""Rows below the readouts' of the product that is the weight's gradient: a 1 in the first of them
makes it the bias's gradient too. Products have a multiple of 16 rows."""


class _PackedLinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        readout_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        smoothing: float,
        soft: tuple[Tensor, Tensor, float] | None,
    ) -> tuple[Tensor, Tensor]:
        num_tokens = len(targets_N)
        extra = -num_tokens % CHUNK
        # Rows beyond the tokens are zero, and so is what they add to gradients.
        readout_NE = F.pad(readout_NE, (0, 0, 0, extra))
        target_N1 = F.pad(targets_N, (0, extra)).unsqueeze(1)
        output_VE = weight_VE.bfloat16()
        packed_VE = torch.ops.mkldnn._reorder_linear_weight(output_VE)
        gradient_NV = readout_NE.new_empty(len(readout_NE), len(bias_V))
        said_N1 = readout_NE.new_empty(len(readout_NE), 1)
        teacher = None if soft is None else _Teacher(*soft, extra=extra)
        share = 1.0 if teacher is None else 1.0 - teacher.mix
        for start in range(0, num_tokens, CHUNK):
            rows = slice(start, start + CHUNK)
            logits_CV = _linear(readout_NE[rows], packed_VE, bias_V)
            said_N1[rows] = logits_CV.gather(1, target_N1[rows])
            if teacher is not None:
                teacher.read(logits_CV, rows)
            with torch.autocast("cpu", enabled=False):  # it would cast to float32 and back
                torch.softmax(logits_CV, dim=-1, out=gradient_NV[rows])
        p_N1 = gradient_NV.gather(1, target_N1)
        # `scatter_` would copy the whole of a bf16 tensor twice.
        place_N = torch.arange(len(readout_NE))
        gradient_NV[place_N, target_N1.squeeze(1)] = p_N1.squeeze(1) - share * (1.0 - smoothing)
        if teacher is not None:
            teacher.subtract_from(gradient_NV)
        said_N = said_N1[:num_tokens, 0].float()
        nll_N = p_N1[:num_tokens, 0].float().log_().neg_()
        if not bool(nll_N.isfinite().all()):  # a probability below 1e-38
            logits_NV = _linear(readout_NE[:num_tokens], packed_VE, bias_V).float()
            nll_N = logits_NV.logsumexp(1) - said_N
        mean_E = weight_VE.mean(0)
        ctx.num_tokens, ctx.smoothing = num_tokens, share * smoothing
        ctx.save_for_backward(readout_NE, output_VE, gradient_NV, mean_E)
        nll = nll_N.sum()
        # The logits' mean over the vocabulary; a matrix product would round under autocast.
        mean_N = (readout_NE[:num_tokens].float() * mean_E).sum(1) + bias_V.mean()
        uniform = nll + (said_N - mean_N).sum()
        ctx.mark_non_differentiable(nll)
        loss = share * ((1.0 - smoothing) * nll + smoothing * uniform)
        if teacher is not None:
            expected_N = teacher.expected_N[:num_tokens]
            loss = loss + teacher.mix * (nll + (said_N - expected_N).sum())
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor | None, ...]:
        readout_NE, output_VE, gradient_NV, mean_E = ctx.saved_tensors
        num_tokens, smoothing, scale = ctx.num_tokens, ctx.smoothing, scales[0]
        shift_E = (-smoothing * mean_E).to(readout_NE.dtype)
        readout_gradient_NE = torch.addmm(shift_E, gradient_NV, output_VE)[:num_tokens]
        # The weight's gradient is worked out transposed: the factor that a product has to turn
        # then is the small one.
        width = readout_NE.shape[1]
        readout_RN = readout_NE.new_zeros(width + BIAS_ROWS, len(readout_NE))
        readout_RN[:width] = readout_NE.t()
        readout_RN[width, :num_tokens] = 1.0
        shift_R1 = readout_RN.sum(1, keepdim=True, dtype=torch.float32)
        shift_R1 *= smoothing / gradient_NV.shape[1]
        both_RV = torch.mm(readout_RN, gradient_NV).float().sub_(shift_R1).mul_(scale)
        return (
            readout_gradient_NE * scale.to(readout_NE.dtype),
            both_RV[:width].t().contiguous(),
            both_RV[width].clone(),
            *(None,) * 3,
        )


class _Teacher:
    """Soft targets: their part of the loss and of the logits' gradient."""

    def __init__(self, ids_NK: Tensor, probabilities_NK: Tensor, mix: float, *, extra: int) -> None:
        """With so many `extra` rows of zeros."""
        self.ids_NK = F.pad(ids_NK, (0, 0, 0, extra))
        self.probabilities_NK = F.pad(probabilities_NK, (0, 0, 0, extra))
        self.mix = mix
        self.expected_N = self.probabilities_NK.new_zeros(len(self.ids_NK))
        """The expected logit under each distribution, float32."""

    def read(self, logits_CV: Tensor, rows: slice) -> None:
        """Keep the expected logits of some rows."""
        said_CK = logits_CV.gather(1, self.ids_NK[rows]).float()
        self.expected_N[rows] = (said_CK * self.probabilities_NK[rows]).sum(1)

    def subtract_from(self, gradient_NV: Tensor) -> None:
        """Subtract the share of the distributions, one of their K tokens at a time: a token that a
        row has twice loses both."""
        place_N = torch.arange(len(gradient_NV))
        values_NK = self.mix * self.probabilities_NK
        for ids_N, values_N in zip(self.ids_NK.unbind(1), values_NK.unbind(1), strict=True):
            left_N = gradient_NV[place_N, ids_N].float() - values_N
            gradient_NV[place_N, ids_N] = left_N.to(gradient_NV.dtype)


def packed_linear_cross_entropy(  # noqa: PLR0917 (as the function of autograd has them)
    readout_NE: Tensor,
    weight_VE: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    smoothing: float,
    soft: tuple[Tensor, Tensor, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """(smoothed, nll) of `s2s.training.loss.cross_entropy.linear_cross_entropy`, sums over tokens.

    Readouts are in bf16, parameters in float32; needs `runs_packed`. `soft` are soft targets: ids,
    probabilities, share.
    """
    sums: tuple[Tensor, Tensor] = _PackedLinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        readout_NE, weight_VE, bias_V, targets_N, smoothing, soft
    )
    return sums


def _linear(x_CE: Tensor, packed_VE: Tensor, bias_V: Tensor) -> Tensor:
    """bf16 [C, V]: the sums and the bias are in float32, and rounded once."""
    y_CV: Tensor = torch.ops.mkldnn._linear_pointwise(x_CE, packed_VE, bias_V, "none", [], "")
    return y_CV


@cache
def runs_packed() -> bool:
    """Whether this CPU and this PyTorch multiply packed bf16 and add a float32 bias."""
    ones = torch.ones(16, 32, dtype=torch.bfloat16)
    bias_V = torch.full((16,), 2.0**-12 - 32.0)
    try:
        packed_VE = torch.ops.mkldnn._reorder_linear_weight(ones)
        found = _linear(ones, packed_VE, bias_V)
    except (RuntimeError, AttributeError):  # AttributeError: no such operator
        return False
    return bool((found == 2.0**-12).all())
