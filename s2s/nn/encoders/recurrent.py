"""The encoder of texts: from embeddings to encoder states.

Dimension letters: S source time, B sentences, E embedding width, D state width, H units of
a direction.
"""

import torch
from torch import Tensor, nn

from s2s.nn.cells.build import build_cell
from s2s.nn.dropout import drop_channels
from s2s.nn.reverse import reversal, reverse
from s2s.recipe.model import Encoder


class RecurrentEncoder(nn.Module):
    """Stacked bidirectional LSTM, h_t = [forward; backward] (Schuster & Paliwal 1997).

    The backward direction runs forward over each sentence reversed. So padding follows the words in
    both directions and does not reach them, and a dense batch runs in fused kernels, which a CPU
    does not have for packed sequences.
    """

    def __init__(self, recipe: Encoder, embeddings: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.directions = 2 if recipe.bidirectional else 1
        self.width = recipe.width * self.directions
        widths = [embeddings] + [self.width] * (recipe.layers - 1)
        layers = [build_cell(w, recipe.width) for w in widths]
        self.output_bound = layers[0].output_bound
        self.forward_layers = nn.ModuleList(layers)
        self.backward_layers = nn.ModuleList(
            build_cell(w, recipe.width) for w in (widths if recipe.bidirectional else [])
        )

    def forward(self, x_SBE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """States [S, B, D], zero beyond each length, and each direction's last state [B, D]."""
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
            x_SBE = torch.cat(outputs, dim=-1)
            final_BD = torch.cat(finals, dim=-1)
            x_SBE = drop_channels(x_SBE, self.dropout, self.training)
        inside_SB1 = (torch.arange(time, device=lengths_B.device)[:, None] < lengths_B)[..., None]
        return x_SBE * inside_SB1.to(x_SBE.dtype), final_BD
