"""From the features of a file to states that attention looks at, as it looks at those of words.

Dimension letters: B samples, R regions, W width of features, D state width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s2s.data.feature_lines import Regions
from s2s.nn.dropout import drop_channels
from s2s.nn.encoder import RecurrentEncoder
from s2s.recipe import Encoder, FeatureEncoder


class FeatureShape(NamedTuple):
    """What a model has to know of a feature file."""

    width: int
    """W."""
    regions: int
    """Of the largest grid that positions are learned for."""


class Encoded(NamedTuple):
    """One source, encoded."""

    states_BSD: Tensor
    """Zero at padding."""
    mask_BS: Tensor
    """bool, true inside."""
    words_BS: Tensor
    """bool, true at what is covered: all but padding and a text's EOS."""
    final_BD: Tensor
    """The source as one vector."""


class RegionEncoder(nn.Module):
    """s_i = tanh(W norm(x_i) + b + p_i + m), then a bidirectional LSTM where that is asked for.

    p_i is a learned position, m the mark of the source; both are left out unless they are asked
    for, and regions then are a set. The tanh keeps states within what those of an LSTM are within.
    The vector of the whole is the states' mean (Xu et al. 2015, section 3.1.2, average the features
    themselves).
    """

    def __init__(
        self, recipe: FeatureEncoder, shape: FeatureShape, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropouts = (recipe.dropout, dropout)
        self.norm = nn.LayerNorm(shape.width) if recipe.normalization == "layer" else None
        self.projection = nn.Linear(shape.width, width)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.positions = (
            nn.Parameter(torch.zeros(shape.regions, width)) if recipe.positions else None
        )
        self.recurrent: RecurrentEncoder | None = None
        if recipe.layers:
            inner = Encoder(layers=recipe.layers, width=width // 2)
            self.recurrent = RecurrentEncoder(inner, width, dropout)

    def forward(self, regions: Regions, mark_D: Tensor | None) -> Encoded:
        """The regions' states."""
        values_BRW, lengths_B = regions
        place_R = torch.arange(values_BRW.shape[1], device=lengths_B.device)
        mask_BR = place_R < lengths_B.unsqueeze(1)
        x_BRW = self._drop(values_BRW, self.dropouts[0])
        if self.norm is not None:
            x_BRW = self.norm(x_BRW)
        sums_BRD = self.projection(x_BRW)
        if self.positions is not None:
            sums_BRD = sums_BRD + self.positions[: sums_BRD.shape[1]]
        if mark_D is not None:
            sums_BRD = sums_BRD + mark_D
        states_BRD = torch.tanh(sums_BRD)
        if self.recurrent is not None:
            states_RBD, _ = self.recurrent(states_BRD.transpose(0, 1), lengths_B)
            states_BRD = states_RBD.transpose(0, 1).contiguous()
        else:
            states_BRD = self._drop(states_BRD, self.dropouts[1])
        states_BRD = states_BRD * mask_BR.unsqueeze(-1).to(states_BRD.dtype)
        mean_BD = states_BRD.float().sum(1) / lengths_B.unsqueeze(1)
        return Encoded(states_BRD, mask_BR, mask_BR, mean_BD.to(states_BRD.dtype))

    def _drop(self, x_BRC: Tensor, rate: float) -> Tensor:
        return drop_channels(x_BRC.transpose(0, 1), rate, self.training).transpose(0, 1)
