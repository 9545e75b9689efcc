"""LSTM layers: whole sequences in one fused kernel, or one step at a time.

    i, f, o = sigmoid(W x + U h + b)      g = tanh(W x + U h + b)
    c = f * c + i * g                     h = o * tanh(c)

(Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; the gate order i, f, g, o
is PyTorch's.) A layer holds an `nn.LSTM` of one layer, whose parameters both ways share.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.activations import sigmoid_of_negative_, tanh
from s2s.nn.cells.base import Cell, CellState, LoopCell, WithoutInput, initialize
from s2s.nn.cells.cudnn_lstm import KERNELS, PARAMETERS, FlattenedLSTM, kernels_for, lstm_in_bf16
from s2s.nn.fused.lstm_cell import choose_lstm_cell
from s2s.nn.kernels import product
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.matmul import Weights
from s2s.recipe.cells import LSTMCell
from s2s.recipe.choices import SearchPrecision


class LSTMLayer(Cell):
    """One unidirectional LSTM layer.

    Initialization: input weights Glorot uniform and recurrent weights orthogonal per gate, biases
    zero but for the forget gate's 1 (Jozefowicz et al. 2015, section 2.2), unless the recipe says
    otherwise.
    """

    is_kernel = True

    def __init__(
        self,
        input_width: int,
        width: int,
        recipe: LSTMCell | None = None,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(input_width, width, recurrent_dropout)
        self.recipe = recipe or LSTMCell(kind="lstm")
        # Without input it has the parameters alone, and no kernel over whole sequences.
        own = nn.LSTM(input_width, width) if input_width else WithoutInput(4, width)
        self.lstm = cast(nn.LSTM, own)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters from the global random generator."""
        initialize(self.input_weight, self.recurrent_weight, self.recipe.recurrent_init)
        with torch.no_grad():
            for name in ("bias_ih_l0", "bias_hh_l0"):
                self.lstm.get_parameter(name).zero_()
            forget = slice(self.width, 2 * self.width)
            self.lstm.get_parameter("bias_ih_l0")[forget] = self.recipe.forget_bias

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
        """b [4H]; `nn.LSTM` has it as the sum of two."""
        first, second = self.lstm.bias_ih_l0, self.lstm.bias_hh_l0
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        return first + second

    @property
    def multiplications(self) -> int:
        """See `Cell`."""
        return self.input_weight.numel() + self.recurrent_weight.numel()

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `Cell`."""
        kernels = kernels_for(x_TBD, self.input_weight)
        if kernels is not None:
            return lstm_in_bf16(self._weights(), x_TBD, state, kernels)
        initial = None
        if state is not None:  # cuDNN refuses views of a wider tensor
            h_BH, c_BH = state
            initial = (h_BH.contiguous().unsqueeze(0), c_BH.contiguous().unsqueeze(0))
        if self.training and self.recurrent_dropout > 0.0:
            if initial is None:
                zeros_1BH = x_TBD.new_zeros(1, x_TBD.shape[1], self.width)
                initial = zeros_1BH, zeros_1BH
            weights = self._weights()
            h_TBH, h_1BH, c_1BH = torch.lstm(
                x_TBD, initial, weights, True, 1, 0.0, True, False, False
            )
        else:
            h_TBH, (h_1BH, c_1BH) = self.lstm(x_TBD, initial)
        return h_TBH, (h_1BH[0], c_1BH[0])

    def _weights(self) -> list[Tensor]:
        """The weights of a pass over whole sequences, in PyTorch's order."""
        input_OD, recurrent_OH, *biases = (self.lstm.get_parameter(name) for name in PARAMETERS)
        return [input_OD, self.drop_weights(recurrent_OH), *biases]

    def initial(self, bridge_NH: Tensor) -> CellState:
        """c = the projection, h = tanh(c)."""
        return torch.tanh(bridge_NH), bridge_NH

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        h_NH, c_NH = state
        return lstm_cell(self.project(x_ND) + F.linear(h_NH, self.recurrent_weight), c_NH)

    def project(self, x: Tensor) -> Tensor:
        """W x + b [..., 4H] of the first input channels.

        In teacher forcing the embeddings are known beforehand, so that one product projects those
        of all steps; `LoopLSTM` adds the other channels.
        """
        return F.linear(x, self.input_weight[:, : x.shape[-1]], self.bias)

    def in_loop(self, start: int = 0) -> LoopCell:
        """See `Cell`."""
        return LoopLSTM(self, start)

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        return QuantizedLSTMLayer(self, bound_D, precision)

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """See `Cell`. What search multiplies the gates' rows by changes neither rounding."""
        whole_D = torch.cat((bound_D, bound_D.new_ones(self.width)))
        return {("lstm.weight_ih_l0", "lstm.weight_hh_l0"): whole_D}

    def for_encoder(self) -> nn.Module:
        """See `Cell`; on a GPU the weights lie as cuDNN reads them."""
        kernels = KERNELS.get(self.input_weight.device.type)
        return self if kernels is None else FlattenedLSTM(self.lstm, kernels)


class LoopLSTM:
    """`LSTMLayer.step` for a loop over time: one product over [x; h], see `LoopLinear`."""

    def __init__(self, layer: LSTMLayer, start: int = 0) -> None:
        recurrent_OH = layer.drop_weights(layer.recurrent_weight)
        weights = (layer.input_weight[:, start:], recurrent_OH)
        # What is projected has the bias already.
        self.product = LoopLinear(torch.cat(weights, dim=1), None if start else layer.bias)
        device, kind = recurrent_OH.device, self.product.kind
        self.cell = choose_lstm_cell(device, kind, layer.width, lstm_cell)

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None
    ) -> CellState:
        """See `LoopCell`."""
        h_NH, c_NH = state
        return self.cell(self.product(torch.cat((x_ND, h_NH), dim=-1), projected_NG), c_NH)


class QuantizedLSTMLayer(nn.Module):
    """`LSTMLayer.step` in one product over [x; h].

    The weights of the gates i, f and o are negated and those of g multiplied by -2 beforehand,
    which is exact, as `s2s.nn.activations` expects.
    """

    def __init__(self, layer: LSTMLayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        bound_D = torch.cat((bound_D, bound_D.new_ones(layer.width)))
        rebuild = partial(_stacked_weights, layer, bound_D)
        self.product = product(rebuild(), precision, rebuild)

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return torch.tanh(bridge_NH), bridge_NH

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        h_NH, c_NH = state
        gates_NG = sigmoid_of_negative_(self.product(torch.cat((x_ND, h_NH), dim=-1)))
        i, f, o, g = gates_NG.chunk(4, dim=-1)
        g.mul_(2.0).sub_(1.0)
        # Each operation rounds once, so that no kernel can fuse two of them.
        c_NH = (f * c_NH).add_(i * g)
        return tanh(c_NH).mul_(o), c_NH


@torch.no_grad()
def _stacked_weights(layer: LSTMLayer, bound_D: Tensor) -> Weights:
    """Weights of the product over [x; h]: the gates i, f and o, negated, and the candidate g."""
    weight_OD = torch.cat((layer.input_weight, layer.recurrent_weight), dim=1)
    i, f, g, o = torch.cat((weight_OD, layer.bias.unsqueeze(1)), dim=1).chunk(4)
    both = torch.cat((-i, -f, -o, -2.0 * g))
    return Weights(both[:, :-1].contiguous(), both[:, -1].contiguous(), bound_D)


def flatten_parameters(model: nn.Module) -> None:
    """Flatten the weights of every fused layer, as cuDNN reads them; no effect on a CPU.

    Those of copies are not flat, and cuDNN would flatten them at every call and warn of it.
    """
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def lstm_cell(gates_NG: Tensor, c_NH: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c), each [N, H], from the gates before their nonlinearities [N, 4H] and the last c."""
    i, f, g, o = gates_NG.chunk(4, dim=-1)
    c_NH = torch.sigmoid(f) * c_NH + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c_NH), c_NH
