"""Variational dropout: one mask per sentence and channel, shared by all time steps.

Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
Networks". It regularizes recurrent networks better than a new mask per step, and draws T times
fewer random numbers, which are most of dropout's cost on a CPU.

Dimension letters: T time, B sentences, D channels.
"""

import torch
from torch import Tensor


def channel_mask(like_TBD: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Mask [1, B, D] of 0 and 1/(1-rate), in the type and on the device of `like_TBD`."""
    _, batch, width = like_TBD.shape
    kept_1BD = torch.rand(1, batch, width, generator=generator, device=like_TBD.device) >= rate
    return kept_1BD.to(like_TBD.dtype).mul_(1.0 / (1.0 - rate))


def drop_channels(
    x_TBD: Tensor, rate: float, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """`x_TBD` with whole channels of a sentence dropped, the same at every step."""
    if not training or rate == 0.0:
        return x_TBD
    return x_TBD * channel_mask(x_TBD, rate, generator)


def drop_words(
    x_TBD: Tensor, rate: float, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """`x_TBD` with whole positions dropped: word dropout."""
    if not training or rate == 0.0:
        return x_TBD
    time, batch, _ = x_TBD.shape
    kept_TB1 = torch.rand(time, batch, 1, generator=generator, device=x_TBD.device) >= rate
    return x_TBD * kept_TB1.to(x_TBD.dtype).mul_(1.0 / (1.0 - rate))
