"""The encoder of texts: from embeddings to encoder states.

Dimension letters: S source time, B sentences, E embedding width, D state width, H units of
a direction.
"""

import torch
from torch import Tensor, nn

from s2s.nn.cells.base import Cell
from s2s.nn.cells.block import Join
from s2s.nn.cells.build import build_cell
from s2s.nn.dropout import drop_channels
from s2s.nn.reverse import reversal, reverse
from s2s.recipe.model import Encoder


class RecurrentEncoder(nn.Module):
    """Stacked bidirectional layers, h_t = [forward; backward] (Schuster & Paliwal 1997).

    The backward direction runs forward over each sentence reversed. So padding follows the words in
    both directions and does not reach them, and a dense batch runs in fused kernels, which a CPU
    does not have for packed sequences.
    """

    def __init__(
        self, recipe: Encoder, embeddings: int, dropout: float, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.directions = 2 if recipe.bidirectional else 1
        self.width = recipe.width * self.directions
        widths = [embeddings] + [self.width] * (recipe.layers - 1)

        def build(widths: list[int]) -> list[Cell]:
            own = recipe.width, recipe.cell, recurrent_dropout, recipe.transitions
            return [build_cell(width, *own) for width in widths]

        self.forward_layers = nn.ModuleList(build(widths))
        self.backward_layers = nn.ModuleList(build(widths if recipe.bidirectional else []))
        self.joins = nn.ModuleList()
        self.output_bound = bound = _bound_of(self.forward_layers[0])
        if recipe.residual or recipe.layer_norm:
            for index, input_width in enumerate(widths):
                residual = recipe.residual and index > 0 and input_width == self.width
                join = Join(self.width, residual=residual, layer_norm=recipe.layer_norm)
                self.output_bound = join.bound(self.output_bound, bound)
                self.joins.append(join)

    def forward(self, x_SBE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """States [S, B, D], zero beyond each length, and the last outputs [B, D] of both directions
        of the top layer, before its join."""
        time, batch, _ = x_SBE.shape
        order = reversal(lengths_B, time) if self.backward_layers else None
        last_B = lengths_B - 1
        rows_B = torch.arange(batch, device=lengths_B.device)
        for index, layer in enumerate(self.forward_layers):
            h_SBH, _ = layer(x_SBE)
            outputs, finals = [h_SBH], [h_SBH[last_B, rows_B]]
            if order is not None:
                mirrored_SBH, _ = self.backward_layers[index](reverse(x_SBE, order))
                outputs.append(reverse(mirrored_SBH, order))
                finals.append(mirrored_SBH[last_B, rows_B])
            h_SBD = torch.cat(outputs, dim=-1)
            x_SBE = self.joins[index](x_SBE, h_SBD) if self.joins else h_SBD
            final_BD = torch.cat(finals, dim=-1)
            x_SBE = drop_channels(x_SBE, self.dropout, self.training)
        inside_SB1 = (torch.arange(time, device=lengths_B.device)[:, None] < lengths_B)[..., None]
        return x_SBE * inside_SB1.to(x_SBE.dtype), final_BD


def _bound_of(layer: nn.Module) -> float:
    assert isinstance(layer, Cell)
    return layer.output_bound
