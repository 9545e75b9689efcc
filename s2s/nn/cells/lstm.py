"""Recurrent layers: whole sequences in one fused kernel, or one step at a time.

    i, f, o = sigmoid(W x + U h + b)      g = tanh(W x + U h + b)
    c = f * c + i * g                     h = o * tanh(c)

(Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; the gate order i, f, g, o
is PyTorch's.) A layer is an `nn.LSTM` of one layer, so that both ways of running share parameters.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells.cudnn_lstm import lstm_in_bf16, wanted_kernels
from s2s.nn.loop_linear import LoopLinear


class LSTMLayer(nn.Module):
    """One unidirectional LSTM layer.

    Initialization: input weights Glorot uniform and recurrent weights orthogonal per gate, biases
    zero but for the forget gate's 1 (Jozefowicz et al. 2015, section 2.2).
    """

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.lstm = nn.LSTM(input_width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters from the global random generator."""
        with torch.no_grad():
            for gate in range(4):
                rows = slice(gate * self.width, (gate + 1) * self.width)
                nn.init.xavier_uniform_(self.input_weight[rows])
                nn.init.orthogonal_(self.recurrent_weight[rows])
            for name in ("bias_ih_l0", "bias_hh_l0"):
                self.lstm.get_parameter(name).zero_()
            self.lstm.get_parameter("bias_ih_l0")[self.width : 2 * self.width] = 1.0

    @property
    def input_weight(self) -> Tensor:
        """W [4H, D]."""
        weight = self.lstm.weight_ih_l0
        assert isinstance(weight, Tensor)
        return weight

    @property
    def recurrent_weight(self) -> Tensor:
        """U [4H, H]."""
        weight = self.lstm.weight_hh_l0
        assert isinstance(weight, Tensor)
        return weight

    @property
    def bias(self) -> Tensor:
        """b [4H]; the kernel keeps it as a sum of two."""
        first, second = self.lstm.bias_ih_l0, self.lstm.bias_hh_l0
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        return first + second

    def forward(
        self, x_TBD: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs [T, B, H] and the last (h, c), each [B, H], from the state (zeros if None)."""
        kernels = wanted_kernels(x_TBD, self.input_weight)
        if kernels is not None:
            return lstm_in_bf16(self.lstm, x_TBD, state, kernels)
        initial = None
        if state is not None:  # cuDNN refuses a part of a wider tensor
            h_BH, c_BH = state
            initial = (h_BH.contiguous().unsqueeze(0), c_BH.contiguous().unsqueeze(0))
        h_TBH, (h_1BH, c_1BH) = self.lstm(x_TBD, initial)
        return h_TBH, (h_1BH[0], c_1BH[0])

    def step(self, x_ND: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One step from (h, c), each [N, H], to the next."""
        h_NH, c_NH = state
        return lstm_cell(self.project(x_ND) + F.linear(h_NH, self.recurrent_weight), c_NH)

    def project(self, x: Tensor) -> Tensor:
        """W x + b [..., 4H] of the first input channels; several steps at a time if wished.

        Splitting the input by channels lets the part that is known beforehand (the embeddings of
        teacher forcing) be multiplied for all steps at once; `LoopLSTM` adds the others.
        """
        return F.linear(x, self.input_weight[:, : x.shape[-1]], self.bias)


class LoopLSTM:
    """A layer in a loop over time of training: `LSTMLayer.step` with weights laid out once.

    Input channels from `start` on are given at each step, those before it are projected already.
    """

    def __init__(self, layer: LSTMLayer, start: int = 0) -> None:
        weights = (layer.input_weight[:, start:], layer.recurrent_weight)
        # What is projected has the bias already.
        self.product = LoopLinear(torch.cat(weights, dim=1), None if start else layer.bias)

    def __call__(
        self, x_ND: Tensor, state: tuple[Tensor, Tensor], gates_NG: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step from (h, c), each [N, H], to the next.

        `gates` [N, 4H] are what `LSTMLayer.project` makes of the channels before `start`.
        """
        h_NH, c_NH = state
        return lstm_cell(self.product(torch.cat((x_ND, h_NH), dim=-1), gates_NG), c_NH)


def flatten_parameters(model: nn.Module) -> None:
    """Have every fused layer's weights lie side by side on a GPU, which copies of them do not.

    Otherwise cuDNN would bring them together at every call, and warn of it. Nothing on a CPU.
    """
    for module in model.modules():
        if isinstance(module, nn.LSTM):
            module.flatten_parameters()


def lstm_cell(gates_NG: Tensor, c_NH: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c), each [N, H], of the gates before their nonlinearities [N, 4H] and the cell before."""
    i, f, g, o = gates_NG.chunk(4, dim=-1)
    c_NH = torch.sigmoid(f) * c_NH + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c_NH), c_NH
