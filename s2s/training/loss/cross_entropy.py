"""Cross-entropy over a large vocabulary, its output layer included.

Dimension letters: N tokens, C tokens of a chunk, P pairs of them (C = 2P), E readout width,
V vocabulary, B sentences, T target time, S source time.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.kernels import multiply
from s2s.nn.pointer import NEVER
from s2s.training.loss.cross_entropy_bf16 import packed_linear_cross_entropy, runs_packed
from s2s.training.loss.cross_entropy_fused import fused_linear_cross_entropy, runs_fused

CPU_CHUNK = 64
"""Tokens whose logits are computed at a time: 64 x 8,000 float32 stay in a core's L2 cache."""


ROW_MULTIPLE = 128
"""Products over all tokens have a multiple of this many rows: the number of tokens differs from
batch to batch, and compiling a CPU kernel for each would cost more time and memory than its use."""


CUDA_CHUNK = 8192
"""On a GPU a chunk only bounds memory."""


class Loss(NamedTuple):
    """Sums over tokens; divide by their number to average."""

    smoothed: Tensor
    """The minimized loss: label-smoothed cross-entropy and all that is added to it;
    differentiable."""
    nll: Tensor
    """Negative log-likelihood of the targets, no gradient."""


class CopyInputs(NamedTuple):
    """The inputs that a pointer-generator adds to its readouts (`s2s.nn.pointer`)."""

    gate_N: Tensor
    """float32, logit of generating the token rather than copying it."""
    copied_N: Tensor
    """float32, logarithm of the probability that a copy gives to the target, at least NEVER."""
    is_known_N: Tensor
    """bool, whether the target is in the vocabulary; if not, it can only be copied."""


class SoftTargets(NamedTuple):
    """Distributions over the vocabulary that the loss compares with, beside the targets."""

    ids_NK: Tensor
    """int64, the K tokens that have a probability; the same one may be there several times."""
    probabilities_NK: Tensor
    """float32; they sum to 1 over K."""
    mix: float
    """Share of their cross-entropy in the loss."""

    def rows(self, rows: slice) -> "SoftTargets":
        """Those of some tokens."""
        return SoftTargets(self.ids_NK[rows], self.probabilities_NK[rows], self.mix)


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
        gate_N: Tensor | None,
        copied_N: Tensor | None,
        is_known_N: Tensor | None,
        targets_N: Tensor,
        smoothing: float,
        more: tuple[float, SoftTargets | None],
    ) -> tuple[Tensor, Tensor]:
        r_drop, soft = more
        chunk = CUDA_CHUNK if readout_NE.is_cuda else CPU_CHUNK
        kind = readout_NE.dtype
        output_EV = weight_VE.to(kind).t()
        num_tokens = len(targets_N)
        extra = -num_tokens % ROW_MULTIPLE
        readout_NE = F.pad(readout_NE, (0, 0, 0, extra))
        gradient_NV = torch.empty(len(readout_NE), len(bias_V), dtype=kind, device=bias_V.device)
        gradient_NV[num_tokens:] = 0
        bias_gradient_V = torch.zeros_like(bias_V)
        totals = torch.zeros(2, device=bias_V.device)
        mixture = None
        if gate_N is not None and copied_N is not None and is_known_N is not None:
            mixture = _Mixture(CopyInputs(gate_N, copied_N, is_known_N), smoothing, r_drop)
        for start in range(0, num_tokens, chunk):
            rows = slice(start, min(start + chunk, num_tokens))
            logits_CV = multiply(readout_NE[start : start + chunk], output_EV)
            logits_CV = logits_CV[: rows.stop - start].float().add_(bias_V)
            if mixture is None:
                own = None if soft is None else soft.rows(rows)
                totals += _chunk_loss_and_gradient(
                    logits_CV, targets_N[rows], smoothing, r_drop, own
                )
            else:
                totals += mixture.chunk(logits_CV, targets_N[rows], rows)
            bias_gradient_V += logits_CV.sum(0)
            gradient_NV[rows] = logits_CV
        ctx.num_tokens = num_tokens
        copy_inputs = (None, None) if mixture is None else mixture.gradients
        ctx.save_for_backward(readout_NE, output_EV, gradient_NV, bias_gradient_V, *copy_inputs)
        ctx.mark_non_differentiable(totals[1])
        return totals[0], totals[1]

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor | None, ...]:
        readout_NE, output_EV, gradient_NV, bias_gradient_V, gate_N, copied_N = ctx.saved_tensors
        scale = scales[0]
        readout_gradient = multiply(gradient_NV, output_EV.t())[: ctx.num_tokens]
        readout_gradient = readout_gradient * scale.to(readout_NE.dtype)
        weight_gradient = multiply(gradient_NV.t(), readout_NE).float() * scale
        output = (readout_gradient, weight_gradient, bias_gradient_V * scale)
        copy_inputs = (None, None) if gate_N is None else (gate_N * scale, copied_N * scale)
        return *output, *copy_inputs, None, None, None, None


def _chunk_loss_and_gradient(
    logits_CV: Tensor,
    targets_C: Tensor,
    smoothing: float,
    r_drop: float,
    soft: SoftTargets | None,
) -> Tensor:
    """Sums (minimized loss, nll) of a chunk; turns its logits into their gradient in place.

    With soft targets Q of share m the target distribution is (1 - m) times the smoothed one plus
    m Q, of which the loss is the cross-entropy; its gradient is P minus that distribution.
    """
    said_CK = None if soft is None else logits_CV.gather(1, soft.ids_NK)
    chunk = _ChunkSoftmax(logits_CV, targets_C, smoothing, r_drop)
    nll, uniform = chunk.nll_C1.sum(), chunk.uniform_C1.sum()
    apart = chunk.weigh(None)
    share = 1.0 if soft is None else 1.0 - soft.mix
    if smoothing:
        logits_CV.sub_(share * smoothing / logits_CV.shape[1])
    true_C1 = torch.full_like(chunk.nll_C1, share * (smoothing - 1.0))
    logits_CV.scatter_add_(1, chunk.target_C1, true_C1)
    loss = share * ((1.0 - smoothing) * nll + smoothing * uniform) + apart
    if soft is not None and said_CK is not None:
        logits_CV.scatter_add_(1, soft.ids_NK, soft.probabilities_NK * -soft.mix)
        expected_C = (soft.probabilities_NK * said_CK).sum(1)
        loss = loss + soft.mix * (chunk.normalizer_C1.squeeze(1) - expected_C).sum()
    return torch.stack((loss, nll))


class _ChunkSoftmax:
    """The softmax of a chunk, for both losses; the logits become exp(logit - largest) in place."""

    def __init__(
        self, logits_CV: Tensor, targets_C: Tensor, smoothing: float, r_drop: float
    ) -> None:
        self.exps_CV = logits_CV
        self.target_C1 = targets_C.unsqueeze(1)
        self.apart = _RDrop(logits_CV, r_drop) if r_drop else None
        target_logit_C1 = logits_CV.gather(1, self.target_C1)
        mean_C1 = logits_CV.mean(dim=1, keepdim=True) if smoothing else target_logit_C1
        top_C1 = logits_CV.amax(dim=1, keepdim=True)
        self.sums_C1 = logits_CV.sub_(top_C1).exp_().sum(dim=1, keepdim=True)
        self.normalizer_C1 = self.sums_C1.log() + top_C1
        """Logarithm of the sum of exp(logit)."""
        self.nll_C1 = self.normalizer_C1 - target_logit_C1
        """-log P_generated(target)."""
        self.uniform_C1 = self.normalizer_C1 - mean_C1
        """-log P_generated, averaged over the vocabulary."""

    def weigh(self, factor_C1: Tensor | None) -> float | Tensor:
        """Turns the exponentials into P_generated times a factor (None for 1) in place; with R-Drop
        adds the gradient of its divergences to that and returns their sum, else 0."""
        if self.apart is not None:
            self.exps_CV.div_(self.sums_C1)
            return self.apart.weigh(self.exps_CV, factor_C1)
        if factor_C1 is None:
            self.exps_CV.div_(self.sums_C1)
        else:
            self.exps_CV.mul_(factor_C1 / self.sums_C1)
        return 0.0


class _RDrop:
    """R-Drop within a chunk: rows 2i and 2i + 1 are a token under two dropout masks.

    With z, y the logits of the two, d = z - y and P, Q their distributions, both directions of the
    divergence together are KL(P|Q) + KL(Q|P) = sum (P - Q) d: normalizers cancel out. Its gradient
    with respect to z is P - Q + P (d - E_P d), and to y it is Q - P - Q (d - E_Q d).
    """

    def __init__(self, logits_CV: Tensor, weight: float) -> None:
        self.weight = 0.5 * weight
        """Of the sum of both directions; the mean counts."""
        self.differences_PV = logits_CV[0::2] - logits_CV[1::2]

    def weigh(self, probabilities_CV: Tensor, factor_C1: Tensor | None) -> Tensor:
        """See `_ChunkSoftmax.weigh`."""
        weight, p_PV, q_PV = self.weight, probabilities_CV[0::2], probabilities_CV[1::2]
        # No matrix products: under autocast they would round.
        p_times_d_PV = p_PV * self.differences_PV
        q_times_d_PV = self.differences_PV.mul_(q_PV)
        p_mean_P1, q_mean_P1 = p_times_d_PV.sum(1, keepdim=True), q_times_d_PV.sum(1, keepdim=True)
        own_C1 = torch.stack((-p_mean_P1, q_mean_P1), dim=1).view(-1, 1).add_(1.0).mul_(weight)
        own_C1.add_(1.0 if factor_C1 is None else factor_C1)
        p_times_d_PV.sub_(q_PV)
        q_times_d_PV.add_(p_PV)
        probabilities_CV.mul_(own_C1)
        p_PV.add_(p_times_d_PV, alpha=weight)
        q_PV.sub_(q_times_d_PV, alpha=weight)
        return weight * (p_mean_P1 - q_mean_P1).sum()


class _Mixture:
    """The loss of generating or copying, -log(g P_generated + (1 - g) P_copied), and gradients.

    With r the share of the target's probability that is generated, the logits' gradient is
    (1 - e) r (P - onehot) + e (P - 1/V), that of the gate's logit (1 - e) (g - r) and that of
    log P_copied -(1 - e) (1 - r).
    """

    def __init__(self, copy_inputs: CopyInputs, smoothing: float, r_drop: float) -> None:
        self.copy_inputs = copy_inputs
        self.smoothing = smoothing
        self.r_drop = r_drop
        self.gradients = (
            torch.empty_like(copy_inputs.gate_N),
            torch.empty_like(copy_inputs.copied_N),
        )

    def chunk(self, logits_CV: Tensor, targets_C: Tensor, rows: slice) -> Tensor:
        """As `_chunk_loss_and_gradient`, of tokens `rows`; stores the gradients of the copy
        inputs."""
        nll_C, uniform_C1, apart = self.tokens(logits_CV, targets_C, rows)
        nll, smoothing = nll_C.sum(), self.smoothing
        smoothed = (1.0 - smoothing) * nll + smoothing * uniform_C1.sum() + apart
        return torch.stack((smoothed, nll))

    def tokens(
        self, logits_CV: Tensor, targets_C: Tensor, rows: slice
    ) -> tuple[Tensor, Tensor, float | Tensor]:
        """As `chunk`: the nll [C] of tokens, that of a uniform target [C, 1], and the sum of
        R-Drop."""
        smoothing, share = self.smoothing, 1.0 - self.smoothing
        gate_C, copied_C, is_known_C = (part[rows] for part in self.copy_inputs)
        chunk = _ChunkSoftmax(logits_CV, targets_C, smoothing, self.r_drop)
        said_C = (-chunk.nll_C1.squeeze(1)).masked_fill(~is_known_C, NEVER)
        generated_C = F.logsigmoid(gate_C) + said_C
        total_C = torch.logaddexp(generated_C, F.logsigmoid(-gate_C) + copied_C)
        generated_C = (generated_C - total_C).exp()
        self.gradients[0][rows] = share * (gate_C.sigmoid() - generated_C)
        self.gradients[1][rows] = share * (generated_C - 1.0)
        generated_C1 = share * generated_C.unsqueeze(1)
        apart = chunk.weigh(generated_C1 + smoothing)
        if smoothing:
            logits_CV.sub_(smoothing / logits_CV.shape[1])
        logits_CV.scatter_add_(1, chunk.target_C1, -generated_C1)
        return -total_C, chunk.uniform_C1, apart


def linear_cross_entropy(
    readout_NE: Tensor,
    weight_VE: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    smoothing: float = 0.0,
    *,
    copy_inputs: CopyInputs | None = None,
    r_drop: float = 0.0,
    soft: SoftTargets | None = None,
) -> Loss:
    """Loss of predicting `targets_N` (int64) from readouts through logits = W r + b, summed.

    With smoothing e the target distribution is (1 - e) on the target plus e / V everywhere
    (Szegedy et al. 2016, section 7), as `torch.nn.functional.cross_entropy` has it. Products run
    in the type of `readout_NE`, everything else in float32 unless
    `s2s.training.loss.cross_entropy_bf16` or `cross_entropy_fused` applies.

    `copy_inputs` makes the target's probability that of generating or copying it; targets that are
    not known may be any id below V. Smoothing then is of what is generated alone: (1 - e) of the
    loss is -log P(target) of the mixture, e the cross-entropy of the generator with the uniform.

    With `r_drop` a > 0 rows 2i and 2i + 1 are one token under two dropout masks, P and Q what is
    generated there, and a (KL(P|Q) + KL(Q|P)) / 2 is added for each two rows (R-Drop, Liang et al.
    2021, section 2.1, equations 2 to 4).

    With `soft` targets of share m, the loss is 1 - m of that plus m of the cross-entropy with their
    distributions (Kim & Rush 2016, section 3.1). Not together with `copy_inputs`.
    """
    assert copy_inputs is None or soft is None, "teachers do not know what can be copied"
    assert not (r_drop and len(targets_N) % 2), "two rows a token"
    if copy_inputs is None and not r_drop:
        given = (readout_NE, weight_VE, bias_V, targets_N, smoothing, soft)
        if runs_fused(readout_NE, len(bias_V)):
            return Loss(*fused_linear_cross_entropy(*given))
        is_bf16 = readout_NE.dtype == torch.bfloat16 and readout_NE.device.type == "cpu"
        if is_bf16 and runs_packed():
            return Loss(*packed_linear_cross_entropy(*given))
    sums = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        readout_NE,
        weight_VE,
        bias_V,
        *(copy_inputs or (None, None, None)),
        targets_N,
        smoothing,
        (r_drop, soft),
    )
    return Loss(*sums)


class _LinearTokenNll(torch.autograd.Function):
    """As `_LinearCrossEntropy`, with a loss and so a factor of the gradient for each token."""

    @staticmethod
    def forward(  # noqa: PLR0917 (the interface of autograd)
        ctx: Any,
        readout_NE: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor,
        gate_N: Tensor | None,
        copied_N: Tensor | None,
        is_known_N: Tensor | None,
        targets_N: Tensor,
    ) -> Tensor:
        chunk = CUDA_CHUNK if readout_NE.is_cuda else CPU_CHUNK
        output_EV = weight_VE.to(readout_NE.dtype).t()
        num_tokens = len(targets_N)
        readout_NE = F.pad(readout_NE, (0, 0, 0, -num_tokens % ROW_MULTIPLE))
        gradient_NV = readout_NE.new_zeros(len(readout_NE), len(bias_V))
        nll_N = bias_V.new_empty(num_tokens)
        mixture = None
        if gate_N is not None and copied_N is not None and is_known_N is not None:
            mixture = _Mixture(CopyInputs(gate_N, copied_N, is_known_N), 0.0, 0.0)
        for start in range(0, num_tokens, chunk):
            rows = slice(start, min(start + chunk, num_tokens))
            logits_CV = multiply(readout_NE[start : start + chunk], output_EV)
            logits_CV = logits_CV[: rows.stop - start].to(bias_V.dtype).add_(bias_V)
            if mixture is None:
                softmax = _ChunkSoftmax(logits_CV, targets_N[rows], 0.0, 0.0)
                softmax.weigh(None)
                nll_N[rows] = softmax.nll_C1.squeeze(1)
                ones_C1 = torch.ones_like(softmax.nll_C1)
                logits_CV.scatter_add_(1, softmax.target_C1, -ones_C1)
            else:
                nll_N[rows] = mixture.tokens(logits_CV, targets_N[rows], rows)[0]
            gradient_NV[rows] = logits_CV.to(gradient_NV.dtype)
        ctx.num_tokens = num_tokens
        copy_inputs = (None, None) if mixture is None else mixture.gradients
        ctx.save_for_backward(readout_NE, output_EV, gradient_NV, *copy_inputs)
        return nll_N

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor | None, ...]:
        readout_NE, output_EV, gradient_NV, gate_N, copied_N = ctx.saved_tensors
        scale_N = scales[0]
        scale_N1 = F.pad(scale_N, (0, len(readout_NE) - ctx.num_tokens)).unsqueeze(1)
        scale_N1 = scale_N1.to(readout_NE.dtype)
        readout_gradient = (multiply(gradient_NV, output_EV.t()) * scale_N1)[: ctx.num_tokens]
        weight_gradient = multiply(gradient_NV.t(), readout_NE * scale_N1).to(scale_N.dtype)
        bias_gradient_V = multiply(gradient_NV.t(), scale_N1).squeeze(1).to(scale_N.dtype)
        copy_inputs = (None, None) if gate_N is None else (gate_N * scale_N, copied_N * scale_N)
        return readout_gradient, weight_gradient, bias_gradient_V, *copy_inputs, None, None


def linear_token_nll(
    readout_NE: Tensor,
    weight_VE: Tensor,
    bias_V: Tensor,
    targets_N: Tensor,
    *,
    copy_inputs: CopyInputs | None = None,
) -> Tensor:
    """The negative log-likelihood [N] of each target, differentiable, in the type of the bias.

    See `linear_cross_entropy`, of which it is the sum.
    """
    nll_N: Tensor = _LinearTokenNll.apply(  # type: ignore[no-untyped-call]
        readout_NE, weight_VE, bias_V, *(copy_inputs or (None, None, None)), targets_N
    )
    return nll_N
