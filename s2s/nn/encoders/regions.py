"""The encoder of image features: from regions to encoder states, as those of words.

Dimension letters: B samples, R regions (of a grid Y rows and X columns), W width of features,
D state width, T time, N sequences.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s2s.nn.batch import Regions
from s2s.nn.dropout import drop_channels
from s2s.nn.encoders.recurrent import RecurrentEncoder
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.model import Encoder


class FeatureShape(NamedTuple):
    """The shape of a feature file's samples."""

    width: int
    """W."""
    regions: int
    """Regions of the largest grid, for learned positions."""


class EncoderOutput(NamedTuple):
    """One source, encoded."""

    states_BSD: Tensor
    """Zero at padding."""
    mask_BS: Tensor
    """bool, true inside."""
    words_BS: Tensor
    """bool, true at the positions that coverage counts: all but padding and a text's EOS."""
    final_BD: Tensor
    """The source as one vector."""


class RegionEncoder(nn.Module):
    """s_i = tanh(W norm(x_i) + b + p_i + m), then bidirectional layers if the recipe has any.

    p_i is a learned position, m the mark of the source; both are optional. Without p_i and layers
    the regions are a set. The tanh keeps states within the bounds of an LSTM's. They read the
    regions in their order, or in turn the rows and the columns of a grid, one layer for each (Visin
    et al. 2015, "ReNet", section 2, who begin with columns). The vector of the source is the
    states' mean (Xu et al. 2015, section 3.1.2, average the features).
    """

    def __init__(
        self, recipe: ImageFeatureEncoder, shape: FeatureShape, width: int, dropout: float
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
        self.rows = recipe.rows
        sweeps, layers = (
            (recipe.layers, 1) if recipe.rows else (min(recipe.layers, 1), recipe.layers)
        )
        encoders = [
            RecurrentEncoder(
                Encoder(layers=layers, width=width // 2, cell=recipe.cell), width, dropout
            )
            for _ in range(sweeps)
        ]
        self.output_bound = encoders[-1].output_bound if encoders else 1.0  # of the tanh
        self.sweeps = nn.ModuleList(encoders)

    def forward(self, regions: Regions, mark_D: Tensor | None) -> EncoderOutput:
        """Regions' states, with the mark of the source added, if it has one."""
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
        for number, sweep in enumerate(self.sweeps):
            if self.rows is None:
                states_RBD, _ = sweep(states_BRD.transpose(0, 1), lengths_B)
                states_BRD = states_RBD.transpose(0, 1).contiguous()
            else:
                states_BRD = _read_lines(
                    sweep, states_BRD, self.rows, along_columns=number % 2 == 1
                )
        if not self.sweeps:
            states_BRD = self._drop(states_BRD, self.dropouts[1])
        states_BRD = states_BRD * mask_BR.unsqueeze(-1).to(states_BRD.dtype)
        mean_BD = states_BRD.float().sum(1) / lengths_B.unsqueeze(1)
        return EncoderOutput(states_BRD, mask_BR, mask_BR, mean_BD.to(states_BRD.dtype))

    def _drop(self, x_BRC: Tensor, rate: float) -> Tensor:
        return drop_channels(x_BRC.transpose(0, 1), rate, self.training).transpose(0, 1)


def _read_lines(sweep: nn.Module, states_BRD: Tensor, rows: int, *, along_columns: bool) -> Tensor:
    """States [B, R, D] of a grid, read along each row or along each column."""
    batch, regions, width = states_BRD.shape
    grid_BYXD = states_BRD.view(batch, rows, regions // rows, width)
    if along_columns:
        grid_BYXD = grid_BYXD.transpose(1, 2)
    lines, time = grid_BYXD.shape[1:3]
    lengths_N = torch.full((batch * lines,), time, device=states_BRD.device)
    states_TND, _ = sweep(grid_BYXD.flatten(0, 1).transpose(0, 1), lengths_N)
    found_BYXD: Tensor = states_TND.transpose(0, 1).reshape(batch, lines, time, width)
    if along_columns:
        found_BYXD = found_BYXD.transpose(1, 2)
    return found_BYXD.reshape(batch, regions, width)
