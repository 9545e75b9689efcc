"""Parts of the decoders whose training is a loop over time.

Dimension letters: T target time, B sentences, N rows, D encoder state width, S source time,
G width of a projected input.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from s2s.nn.attention import AttentionOutput
from s2s.nn.cells.base import CellState
from s2s.nn.decoders.base import Decoder
from s2s.nn.dropout import channel_mask
from s2s.nn.memory import DecoderState


def next_state(
    layers: Sequence[CellState], attention: AttentionOutput, fed: Tensor | None = None
) -> DecoderState:
    """The state after a step, from the layers' new states and the step's attention."""
    return DecoderState(tuple(layers), fed, attention.coverage)


class LoopLayers:
    """`Decoder.step_layers` of layers `first` and above, for a loop over time of training.

    Each step gives the input channels of layer `first` from `start` on.
    """

    def __init__(self, decoder: Decoder, start: int = 0, first: int = 0) -> None:
        lowest, *upper = (decoder.layer(index) for index in range(first, len(decoder.layers)))
        self.outputs = [layer.output for layer in (lowest, *upper)]
        self.layers = [lowest.in_loop(start), *(layer.in_loop() for layer in upper)]

    def __call__(
        self, x_ND: Tensor, states: Sequence[CellState], projected_NG: Tensor | None = None
    ) -> tuple[Tensor, list[CellState]]:
        """`projected` is `Cell.project` of the other channels, if there are any."""
        new = [self.layers[0](x_ND, states[0], projected_NG)]
        h_NH = self.outputs[0](new[0])
        for index, layer in enumerate(self.layers[1:], start=1):
            new.append(layer(h_NH, states[index]))
            h_NH = self.outputs[index](new[index])
        return h_NH, new


def step_mask(like_TBD: Tensor, rate: float, training: bool) -> Tensor | None:
    """A variational mask [B, D] for a loop over time; None without dropout."""
    return channel_mask(like_TBD, rate, None)[0] if training and rate > 0 else None


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` times the mask, if there is one."""
    return x if mask is None else x * mask


def stack_steps(attentions: list[AttentionOutput]) -> AttentionOutput:
    """Contexts [T, B, D], weights and scores [B, T, S] of T steps."""
    weights = [attention.weights for attention in attentions if attention.weights is not None]
    scores = [attention.scores for attention in attentions if attention.scores is not None]
    return AttentionOutput(
        torch.stack([attention.context for attention in attentions]),
        torch.stack(weights, dim=1) if weights else None,
        torch.stack(scores, dim=1) if scores else None,
    )
