"""Scheduled sampling (Bengio et al. 2015): some inputs of the decoder are its own predictions.

Under teacher forcing a decoder reads true tokens alone, in search its own alone. Here each input is
the true token with a probability that falls during training. A first pass over the whole target,
without gradients, predicts a token at each step; the pass that is trained reads a mixture of both
(Duckworth et al. 2019, "Parallel Scheduled Sampling"). So decoders without a loop over time need
none, and with as many passes as steps the inputs are those of drawing one after the other.

Dimension letters: B sentences, T target time, N drawn tokens, E readout width, V vocabulary.
"""

import math
from typing import assert_never

import torch
from torch import Tensor

from s2s.nn.decoders.base import DecoderOutput
from s2s.nn.memory import Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.pointer import mixed_logits
from s2s.recipe.scheduled_sampling import (
    ConstantSampling,
    ExponentialSampling,
    InverseSigmoidSampling,
    LinearSampling,
    ScheduledSampling,
)
from s2s.special import PAD

ROWS = 1024
"""Rows of logits at a time."""


def teacher_probability(recipe: ScheduledSampling, update: int) -> float:
    """The probability of a true token in an update, from 1 on; i is the number of those before it
    (Bengio et al. 2015, section 2.4)."""
    i = update - 1
    match recipe:
        case ConstantSampling():
            return recipe.teacher
        case LinearSampling():
            return max(recipe.least, 1.0 - (1.0 - recipe.least) * i / recipe.updates)
        case ExponentialSampling():
            return float(recipe.k**i)
        case InverseSigmoidSampling():
            return 1.0 / (1.0 + math.exp(min(i / recipe.k - math.log(recipe.k), 700.0)))
        case _:
            assert_never(recipe)


@torch.no_grad()
def sampled_inputs(
    model: Seq2Seq, memory: Memory, target_BT: Tensor, recipe: ScheduledSampling, teacher: float
) -> Tensor:
    """Inputs of the decoder, int64 [B, T]: true ones with probability `teacher`, else predictions.

    The first, the begin of sentence, and padding stay. All draws come from the global generator.
    """
    device = target_BT.device
    draws_BT = torch.rand(target_BT.shape, device=device)
    chosen_BT = (torch.rand(target_BT.shape, device=device) >= teacher) & (target_BT != PAD)
    chosen_BT[:, 0] = False
    rows_N, times_N = chosen_BT.nonzero(as_tuple=True)
    inputs_BT = target_BT.clone()
    if not len(rows_N):
        return inputs_BT
    draws_N = draws_BT[rows_N, times_N] if recipe.draw == "sample" else None
    kind = device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    # A weight that autocast casts and keeps here would have no gradient in the pass that follows.
    with torch.autocast(kind, enabled=is_on, cache_enabled=False):
        for _ in range(recipe.passes):
            decoded = model.decoded(memory, inputs_BT)
            predicted_N = _predicted(model, memory, decoded, (rows_N, times_N - 1), draws_N)
            inputs_BT = target_BT.clone()
            inputs_BT[rows_N, times_N] = predicted_N
    return inputs_BT


def _predicted(
    model: Seq2Seq,
    memory: Memory,
    decoded: DecoderOutput,
    places: tuple[Tensor, Tensor],
    draws_N: Tensor | None,
) -> Tensor:
    """Tokens int64 [N] that the steps of these sentences and times predict."""
    rows_N, times_N = places
    found = []
    for part in torch.split(torch.arange(len(rows_N), device=rows_N.device), ROWS):
        row_N, time_N = rows_N[part], times_N[part]
        logits_NV = model.output(decoded.readout[time_N, row_N]).float()
        if decoded.gate is not None and decoded.scores is not None and model.is_copying:
            logits_NV = mixed_logits(
                logits_NV,
                decoded.gate[time_N, row_N],
                decoded.scores[row_N, time_N],
                memory.select(row_N),
            )
        found.append(logits_NV.argmax(-1) if draws_N is None else _drawn(logits_NV, draws_N[part]))
    return torch.cat(found)


def _drawn(logits_NV: Tensor, draws_N: Tensor) -> Tensor:
    """The tokens at which cumulative probabilities reach the draws in [0, 1)."""
    cumulative_NV = torch.softmax(logits_NV, dim=-1).cumsum(-1)
    reached_N1 = draws_N.unsqueeze(1) * cumulative_NV[:, -1:]
    place_N = torch.searchsorted(cumulative_NV, reached_N1, right=True).squeeze(1)
    return place_N.clamp_max(logits_NV.shape[1] - 1)
