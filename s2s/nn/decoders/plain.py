"""A decoder without a source: a language model (Mikolov et al. 2010; Zaremba et al. 2014).

Dimension letters: T target time, B sentences, N rows, E embedding width, H decoder width.
"""

from torch import Tensor, nn

from s2s.nn.cells.base import CellState
from s2s.nn.decoders.base import Decoder, DecoderOutput
from s2s.nn.memory import DecoderState, Memory
from s2s.recipe.model import Model, PlainDecoder


class LinearReadout(nn.Module):
    """r = h, or P h where the output layer is as wide as embeddings and h is not, so that both can
    share a matrix (LSTM with a projection, Sak et al. 2014)."""

    def __init__(self, width: int, embeddings: int) -> None:
        super().__init__()
        self.width = width
        self.linear: nn.Linear | None = None
        if width != embeddings:
            self.linear = nn.Linear(width, embeddings, bias=False)
            nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, h: Tensor) -> Tensor:
        """r [..., E]."""
        r: Tensor = h if self.linear is None else self.linear(h)
        return r


class Plain(Decoder):
    """h_t = LSTM(e_t, h_{t-1}), from a first state of zeros; the output layer reads h_t."""

    reads_embedding = False

    def __init__(self, recipe: Model, section: PlainDecoder) -> None:
        upper = [section.width] * (section.layers - 1)
        super().__init__(recipe, 0, [recipe.embeddings, *upper])
        self.readout = LinearReadout(section.width, recipe.embeddings)
        is_direct = self.readout.linear is None
        self.output_layer_bound = self.output_bound if is_direct else float("inf")

    def forward(
        self, e_TBE: Tensor, states: tuple[CellState, ...]
    ) -> tuple[Tensor, tuple[CellState, ...]]:
        """Readouts [T, B, E] and the last states of all layers, from first ones."""
        x_TBD, last = e_TBE, []
        for index, state in enumerate(states):
            if index:
                x_TBD = self.drop(x_TBD)
            x_TBD, new = self.layer(index)(x_TBD, state)
            last.append(new)
        return self.drop_readout(self.readout(x_TBD)), tuple(last)

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """See `Decoder`; no loop over time."""
        r_TBE, _ = self(e_TBE, self.start(memory).layers)
        return DecoderOutput(r_TBE, None)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """See `Decoder`."""
        h_NH, layers = self.step_layers(e_NE, state.layers, first=0)
        return DecoderOutput(self.readout(h_NH), None), DecoderState(tuple(layers))
