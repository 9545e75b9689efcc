"""The simple recurrent network (Elman 1990): h' = f(W x + U h + b), with f tanh or ReLU.

On a GPU whole sequences are one kernel. On a CPU a loop over time with one product for the weights'
gradients is as fast as PyTorch's, which computes one product a step.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells.base import Cell, CellState, LoopCell, WithoutInput, initialize
from s2s.nn.cells.cudnn_lstm import without_autocast
from s2s.nn.kernels import product
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.matmul import Weights
from s2s.recipe.cells import SimpleCell
from s2s.recipe.choices import SearchPrecision


class SimpleLayer(Cell):
    """One unidirectional layer. Its parameters are those of an `nn.RNN`."""

    def __init__(
        self, input_width: int, width: int, recipe: SimpleCell, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__(input_width, width, recurrent_dropout)
        # Without input it has the parameters alone, and no kernel over whole sequences.
        kind = recipe.kind
        own = (
            nn.RNN(input_width, width, nonlinearity=kind) if input_width else WithoutInput(1, width)
        )
        self.rnn = cast(nn.RNN, own)
        self.activation = torch.tanh if recipe.kind == "tanh" else torch.relu
        self.output_bound = 1.0 if recipe.kind == "tanh" else float("inf")
        initialize(self.input_weight, self.recurrent_weight, recipe.recurrent_init)
        with torch.no_grad():
            for name in ("bias_ih_l0", "bias_hh_l0"):
                self.rnn.get_parameter(name).zero_()

    @property
    def input_weight(self) -> Tensor:
        """W [H, D]."""
        return cast(Tensor, self.rnn.weight_ih_l0)

    @property
    def recurrent_weight(self) -> Tensor:
        """U [H, H]."""
        return cast(Tensor, self.rnn.weight_hh_l0)

    @property
    def bias(self) -> Tensor:
        """b [H]; `nn.RNN` has it as the sum of two."""
        return cast(Tensor, self.rnn.bias_ih_l0) + cast(Tensor, self.rnn.bias_hh_l0)

    @property
    def multiplications(self) -> int:
        """See `Cell`."""
        return self.input_weight.numel() + self.recurrent_weight.numel()

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `Cell`."""
        if x_TBD.device.type == "cpu" or (self.training and self.recurrent_dropout > 0.0):
            return super().forward(x_TBD, state)
        with without_autocast(x_TBD.device.type):
            first_1BH = None if state is None else state[0].float().contiguous().unsqueeze(0)
            h_TBH, h_1BH = self.rnn(x_TBD.float(), first_1BH)
        return h_TBH.to(x_TBD.dtype), (h_1BH[0],)

    def for_encoder(self) -> nn.Module:
        """See `Cell`; `forward` computes in fp32."""
        return self.float()

    def initial(self, bridge_NH: Tensor) -> CellState:
        """h = f(the projection)."""
        return (self.activation(bridge_NH),)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        recurrent_NH = F.linear(state[0], self.recurrent_weight)
        return (self.activation(self.project(x_ND) + recurrent_NH),)

    def project(self, x: Tensor) -> Tensor:
        """W x + b [..., H] of the first input channels."""
        return F.linear(x, self.input_weight[:, : x.shape[-1]], self.bias)

    def in_loop(self, start: int = 0) -> LoopCell:
        """See `Cell`."""
        return LoopSimple(self, start)

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        return QuantizedSimpleLayer(self, bound_D, precision)

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """See `Cell`."""
        own_H = bound_D.new_full((self.width,), self.output_bound)
        return {("rnn.weight_ih_l0", "rnn.weight_hh_l0"): torch.cat((bound_D, own_H))}


class LoopSimple:
    """`SimpleLayer.step` for a loop over time: one product over [x; h], see `LoopLinear`."""

    def __init__(self, layer: SimpleLayer, start: int) -> None:
        recurrent_HH = layer.drop_weights(layer.recurrent_weight)
        weights = (layer.input_weight[:, start:], recurrent_HH)
        # What is projected has the bias already.
        self.product = LoopLinear(torch.cat(weights, dim=1), None if start else layer.bias)
        self.activation = layer.activation

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None
    ) -> CellState:
        """See `LoopCell`."""
        return (self.activation(self.product(torch.cat((x_ND, state[0]), -1), projected_NG)),)


class QuantizedSimpleLayer(nn.Module):
    """`SimpleLayer.step` in one product over [x; h]."""

    def __init__(self, layer: SimpleLayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        self.activation = layer.activation
        own_H = bound_D.new_full((layer.width,), layer.output_bound)
        rebuild = partial(_stacked_weights, layer, torch.cat((bound_D, own_H)))
        self.product = product(rebuild(), precision, rebuild)

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return (self.activation(bridge_NH),)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        return (self.activation(self.product(torch.cat((x_ND, state[0]), dim=-1))),)


@torch.no_grad()
def _stacked_weights(layer: SimpleLayer, bound_D: Tensor) -> Weights:
    weight_OD = torch.cat((layer.input_weight, layer.recurrent_weight), dim=1)
    return Weights(weight_OD.contiguous(), layer.bias, bound_D)
