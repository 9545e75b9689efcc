"""The loss of a sequence-to-sequence model: cross-entropy, and the losses of attention.

Dimension letters: B sentences, S source time, T target time, N target tokens, E readout width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.nn.batch import Batch
from s2s.nn.decoders.base import DecoderOutput
from s2s.nn.decoders.hard import Hard
from s2s.nn.device import to_device
from s2s.nn.memory import Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.pointer import CERTAIN, NEVER, copied_log_probs, known_ids
from s2s.recipe.scheduled_sampling import ScheduledSampling
from s2s.special import PAD
from s2s.tasks.seq2seq.scheduled_sampling import sampled_inputs
from s2s.training.loss.attention import (
    coverage_losses,
    doubly_stochastic_losses,
    guided_alignment_losses,
)
from s2s.training.loss.cross_entropy import CopyInputs, Loss, SoftTargets, linear_cross_entropy
from s2s.training.loss.hard_attention import hard_cross_entropy


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the parts of the loss beside cross-entropy."""

    smoothing: float = 0.0
    """Label smoothing (Szegedy et al. 2016)."""
    coverage: float = 0.0
    """Coverage loss (See et al. 2017, section 2.3)."""
    doubly_stochastic: float = 0.0
    """Doubly stochastic attention (Xu et al. 2015, equation 14)."""
    guided_alignment: float = 0.0
    """Cross-entropy of attention and given alignments (Chen et al. 2016)."""
    r_drop: float = 0.0
    """R-Drop: the divergence between two passes with different dropout (Liang et al. 2021)."""
    sampling: ScheduledSampling | None = None
    """Scheduled sampling (Bengio et al. 2015)."""
    teacher: float = 1.0
    """The probability of reading a true token, with scheduled sampling."""
    mix: float = 0.0
    """Share of the cross-entropy with the distributions of teachers, where a batch has some (Kim &
    Rush 2016, section 3.1)."""


def batch_loss(
    model: Seq2Seq, batch: Batch, weights: LossWeights = LossWeights()
) -> tuple[Loss, Tensor]:
    """Loss summed over the batch's target tokens, and their readouts [N, E].

    `batch` is on the host and moves to the model's device. R-Drop runs its two passes as one pass
    over a batch of twice the size; the losses are then means of the two passes, and there are twice
    as many readouts. Padding is removed before the output layer, which takes most of the time.
    """
    device = model.output.bias.device
    if weights.r_drop:
        batch = batch.repeated(2)
    there = batch.to(str(device))
    memory = model.encode(there.source, there.source_lengths, there.features)
    target_input = there.target_input
    if weights.sampling is not None and weights.teacher < 1.0:
        mixed = weights.sampling, weights.teacher
        target_input = sampled_inputs(model, memory, target_input, *mixed)
    decoded = model.decoded(memory, target_input)
    if isinstance(model.decoder, Hard):
        assert decoded.scores is not None
        targets_N, inside_N = tokens_of(batch.target_output, device)
        emissions = model.decoder.emissions(memory, decoded, model.output, inside_N)
        loss = hard_cross_entropy(
            *(emissions, decoded.scores, targets_N, inside_N),
            is_monotonic=model.decoder.is_monotonic,
            smoothing=weights.smoothing,
        )
        return loss, emissions.own_NE
    found = predictions(model, memory, decoded, batch.target_output)
    readout_NE, targets_N, copy_inputs, inside_N = found
    output = (model.output.weight, model.output.bias)
    loss = linear_cross_entropy(
        *(readout_NE, *output, targets_N, weights.smoothing),
        copy_inputs=copy_inputs,
        r_drop=weights.r_drop,
        soft=_soft_targets(there, inside_N, weights.mix),
    )
    if weights.coverage or weights.doubly_stochastic:
        added = _attention_loss(memory, decoded, there.target_output, weights)
        loss = loss._replace(smoothed=loss.smoothed + added)
    if weights.guided_alignment and there.alignment is not None:
        costs_BT = guided_alignment_losses(_log_weights(memory, decoded), there.alignment)
        added = weights.guided_alignment * costs_BT.sum()
        loss = loss._replace(smoothed=loss.smoothed + added)
    if weights.r_drop:
        loss = Loss(loss.smoothed / 2, loss.nll / 2)
    return loss, readout_NE


def _soft_targets(batch: Batch, inside_N: Tensor, mix: float) -> SoftTargets | None:
    """What teachers predict for the N target tokens at places `inside_N` of [T, B], flattened."""
    if batch.teacher is None or not mix:
        return None
    ids_NK, probabilities_NK = (
        part.transpose(0, 1).flatten(0, 1).index_select(0, inside_N) for part in batch.teacher
    )
    return SoftTargets(ids_NK, probabilities_NK, mix)


def _log_weights(memory: Memory, decoded: DecoderOutput) -> Tensor:
    """float32 [B, T, S]: logarithms of attention weights, of several heads of their mean."""
    assert decoded.weights is not None
    if decoded.scores is None:
        return decoded.weights.clamp_min(torch.finfo(torch.float32).tiny).log()
    hidden_B1S = ~memory.mask_BS.unsqueeze(1)
    return decoded.scores.float().masked_fill(hidden_B1S, NEVER).log_softmax(-1)


class Predictions(NamedTuple):
    """The predictions of N target tokens, without padding."""

    readout_NE: Tensor
    targets_N: Tensor
    """int64, in the vocabulary: a target that can only be copied is any id."""
    copy_inputs: CopyInputs | None
    """None in a model that does not copy."""
    inside_N: Tensor
    """int64, the places of the tokens in [T, B], flattened."""


def tokens_of(target_BT: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The N tokens of targets on the host, int64 [N], and their places in [T, B], flattened."""
    flat = target_BT.t().reshape(-1)
    inside_N = flat.ne(PAD).nonzero().squeeze(1)
    return to_device(flat[inside_N], device), to_device(inside_N, device)


def predictions(
    model: Seq2Seq, memory: Memory, decoded: DecoderOutput, target_BT: Tensor
) -> Predictions:
    """The predictions of `target_BT` (int64, on the host, padded with PAD)."""
    targets_N, inside_N = tokens_of(target_BT, model.output.bias.device)
    readout_NE = decoded.readout.flatten(0, 1).index_select(0, inside_N)
    copy_inputs = None
    if model.is_copying:
        copy_inputs = _copy_inputs(model.target_vocabulary, memory, decoded, targets_N, inside_N)
        targets_N = known_ids(targets_N, model.target_vocabulary)
    return Predictions(readout_NE, targets_N, copy_inputs, inside_N)


def _attention_loss(
    memory: Memory, decoded: DecoderOutput, target_BT: Tensor, weights: LossWeights
) -> Tensor:
    """The weighted losses of attention, summed over target tokens."""
    assert decoded.weights is not None and memory.words_BS is not None
    inside_BT = target_BT != PAD
    total = torch.zeros((), device=target_BT.device)
    if weights.coverage:
        costs_BT = coverage_losses(decoded.weights, memory.words_BS)
        total = total + weights.coverage * (costs_BT * inside_BT).sum()
    if weights.doubly_stochastic:
        spread_B = doubly_stochastic_losses(decoded.weights, inside_BT, memory.words_BS)
        total = total + weights.doubly_stochastic * spread_B.sum()
    return total


def _copy_inputs(
    vocabulary: int, memory: Memory, decoded: DecoderOutput, targets_N: Tensor, inside_N: Tensor
) -> CopyInputs:
    """The pointer's part in the N target tokens at places `inside_N` of [T, B], flattened."""
    assert decoded.gate is not None and decoded.scores is not None
    assert memory.copies_BS is not None
    scores_NS = decoded.scores.transpose(0, 1).flatten(0, 1).index_select(0, inside_N)
    sentence_N = inside_N % decoded.scores.shape[0]
    copies_NS = memory.copies_BS.index_select(0, sentence_N)
    words_NS, is_target_NS = copies_NS != PAD, copies_NS == targets_N.unsqueeze(1)
    gate_N = decoded.gate.flatten().index_select(0, inside_N)
    return CopyInputs(
        gate_N.masked_fill(~words_NS.any(-1), CERTAIN),
        copied_log_probs(scores_NS, words_NS, is_target_NS),
        targets_N < vocabulary,
    )
