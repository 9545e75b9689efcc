"""GRU layers (Cho et al. 2014), in both published conventions of the reset gate.

    r, z = sigmoid(W x + U h + b)
    n = tanh(W x + r * (U h + d) + b)     reset after the product (cuDNN, PyTorch), or
    n = tanh(W x + U (r * h) + b)         reset before it (Cho et al. 2014, equation 8)
    h' = (1 - z) * n + z * h

z keeps the state, as in Cho et al. (equation 7) and PyTorch; Chung et al. 2014 write 1 - z for it.
The gate order r, z, n is PyTorch's.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.activations import sigmoid_of_negative_, tanh
from s2s.nn.cells.base import Cell, CellState, LoopCell, WithoutInput, initialize
from s2s.nn.cells.cudnn_lstm import without_autocast
from s2s.nn.kernels import product
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.matmul import Product, Weights
from s2s.recipe.cells import GRUCell
from s2s.recipe.choices import SearchPrecision


class GRULayer(Cell):
    """One unidirectional GRU layer.

    Its parameters are those of an `nn.GRU`. Where the reset comes before the product, both biases
    would add to the same sums, and there is one.
    """

    def __init__(
        self, input_width: int, width: int, recipe: GRUCell, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__(input_width, width, recurrent_dropout)
        self.resets_before = recipe.reset == "before"
        bias = not self.resets_before
        # Without input it has the parameters alone, and no kernel over whole sequences.
        own = nn.GRU(input_width, width, bias=bias) if input_width else WithoutInput(3, width, bias)
        self.gru = cast(nn.GRU, own)
        self.own_bias = nn.Parameter(torch.zeros(3 * width)) if self.resets_before else None
        initialize(self.input_weight, self.recurrent_weight, recipe.recurrent_init)
        if not self.resets_before:
            with torch.no_grad():
                for name in ("bias_ih_l0", "bias_hh_l0"):
                    self.gru.get_parameter(name).zero_()

    @property
    def input_weight(self) -> Tensor:
        """W [3H, D]."""
        return cast(Tensor, self.gru.weight_ih_l0)

    @property
    def recurrent_weight(self) -> Tensor:
        """U [3H, H]."""
        return cast(Tensor, self.gru.weight_hh_l0)

    @property
    def bias(self) -> Tensor:
        """b [3H], the biases that the reset gate does not multiply."""
        if self.own_bias is not None:
            return self.own_bias
        of_x, of_h = cast(Tensor, self.gru.bias_ih_l0), cast(Tensor, self.gru.bias_hh_l0)
        gates = 2 * self.width
        return torch.cat((of_x[:gates] + of_h[:gates], of_x[gates:]))

    @property
    def candidate_bias(self) -> Tensor:
        """d [H]; only where the reset comes after the product."""
        return cast(Tensor, self.gru.bias_hh_l0)[2 * self.width :]

    @property
    def multiplications(self) -> int:
        """See `Cell`."""
        return self.input_weight.numel() + self.recurrent_weight.numel()

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `Cell`. On a CPU the loop is as fast as PyTorch's kernel in fp32, faster in bf16."""
        drops = self.training and self.recurrent_dropout > 0.0
        if self.resets_before or drops or x_TBD.device.type == "cpu":
            return super().forward(x_TBD, state)
        with without_autocast(x_TBD.device.type):
            first_1BH = None if state is None else state[0].float().contiguous().unsqueeze(0)
            h_TBH, h_1BH = self.gru(x_TBD.float(), first_1BH)
        return h_TBH.to(x_TBD.dtype), (h_1BH[0],)

    def for_encoder(self) -> nn.Module:
        """See `Cell`; `forward` computes in fp32."""
        return self.float()

    def initial(self, bridge_NH: Tensor) -> CellState:
        """h = tanh(the projection)."""
        return (torch.tanh(bridge_NH),)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        (h_NH,), widths = state, [2 * self.width, self.width]
        rz_OH, n_OH = torch.split(self.recurrent_weight, widths)
        rz_NO, n_NH = torch.split(self.project(x_ND), widths, dim=-1)
        r_NH, z_NH = torch.sigmoid(rz_NO + F.linear(h_NH, rz_OH)).chunk(2, dim=-1)
        if self.resets_before:
            n_NH = n_NH + F.linear(r_NH * h_NH, n_OH)
        else:
            n_NH = n_NH + r_NH * F.linear(h_NH, n_OH, self.candidate_bias)
        return (_mixed(torch.tanh(n_NH), h_NH, z_NH),)

    def project(self, x: Tensor) -> Tensor:
        """W x + b [..., 3H] of the first input channels."""
        return F.linear(x, self.input_weight[:, : x.shape[-1]], self.bias)

    def in_loop(self, start: int = 0) -> LoopCell:
        """See `Cell`."""
        return LoopGRU(self, start)

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        kind = QuantizedResetBefore if self.resets_before else QuantizedResetAfter
        return kind(self, bound_D, precision)

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """See `Cell`. Negating the gates' rows, as search does, changes neither rounding."""
        ones_H = bound_D.new_ones(self.width)
        names = "gru.weight_ih_l0", "gru.weight_hh_l0"
        if self.resets_before:
            return {names: torch.cat((bound_D, ones_H))}
        return {names[:1]: bound_D, names[1:]: ones_H}


def _mixed(n: Tensor, h: Tensor, z: Tensor) -> Tensor:
    """(1 - z) * n + z * h, in the type of the state: in bf16, small changes would be lost."""
    kind = torch.promote_types(h.dtype, torch.float32)
    return torch.lerp(n.to(kind), h.to(kind), z.to(kind))


class LoopGRU:
    """`GRULayer.step` for a loop over time, see `LoopLinear`."""

    def __init__(self, layer: GRULayer, start: int) -> None:
        self.layer, self.widths = layer, [2 * layer.width, layer.width]
        recurrent_OH = layer.drop_weights(layer.recurrent_weight)
        self.input: LoopLinear | None = None
        if start < layer.input_width:
            self.input = LoopLinear(layer.input_weight[:, start:])
        if layer.resets_before:
            gates_OH, candidate_HH = torch.split(recurrent_OH, self.widths)
            self.gates, self.candidate = LoopLinear(gates_OH), LoopLinear(candidate_HH)
        else:
            bias_H = layer.candidate_bias
            zeros_O = bias_H.new_zeros(2 * layer.width)  # those of r and z are in b
            self.gates = LoopLinear(recurrent_OH, torch.cat((zeros_O, bias_H)))

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None
    ) -> CellState:
        """See `LoopCell`."""
        if projected_NG is None:
            projected_NG = self.layer.bias.expand(len(x_ND), -1)
        if self.input is not None:
            projected_NG = self.input(x_ND, projected_NG)
        (h_NH,) = state
        rz_NO, n_NH = torch.split(projected_NG, self.widths, dim=-1)
        if self.layer.resets_before:
            r_NH, z_NH = torch.sigmoid(self.gates(h_NH, rz_NO)).chunk(2, dim=-1)
            n_NH = self.candidate(r_NH * h_NH, n_NH)
        else:
            own_NO, own_NH = torch.split(self.gates(h_NH), self.widths, dim=-1)
            r_NH, z_NH = torch.sigmoid(rz_NO + own_NO).chunk(2, dim=-1)
            n_NH = torch.addcmul(n_NH, r_NH, own_NH)
        return (_mixed(torch.tanh(n_NH), h_NH, z_NH),)


class _QuantizedGRULayer(nn.Module):
    """`GRULayer.step` for search (see `QuantizedLSTMLayer`)."""

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return (torch.tanh(bridge_NH),)

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]


class QuantizedResetAfter(_QuantizedGRULayer):
    """A product over x and one over h."""

    def __init__(self, layer: GRULayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        self.widths = [2 * layer.width, layer.width]
        of_x = partial(_of_input, layer, bound_D)
        of_h = partial(_of_state, layer, bound_D.new_ones(layer.width))
        bias_O = of_x().bias_O
        self.input: Product = (
            product(of_x(), precision, of_x)
            if layer.input_width
            else lambda x_ND: bias_O.expand(len(x_ND), -1)
        )
        self.recurrent = product(of_h(), precision, of_h)

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        (h_NH,) = state
        rz_NO, n_NH = torch.split(self.input(x_ND), self.widths, dim=-1)
        own_NO, own_NH = torch.split(self.recurrent(h_NH), self.widths, dim=-1)
        r_NH, z_NH = _gates(rz_NO + own_NO)
        # Each operation rounds once, so that no kernel can fuse two of them.
        n_NH = tanh((r_NH * own_NH).add_(n_NH))
        return ((h_NH - n_NH).mul_(z_NH).add_(n_NH),)


class QuantizedResetBefore(_QuantizedGRULayer):
    """A product over [x; h] for the gates, and one over [x; r * h] for the candidate."""

    def __init__(self, layer: GRULayer, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        bound_D = torch.cat((bound_D, bound_D.new_ones(layer.width)))
        gates = partial(_of_both, layer, bound_D, is_gates=True)
        candidate = partial(_of_both, layer, bound_D, is_gates=False)
        self.gates = product(gates(), precision, gates)
        self.candidate = product(candidate(), precision, candidate)

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        (h_NH,) = state
        r_NH, z_NH = _gates(self.gates(torch.cat((x_ND, h_NH), dim=-1)))
        n_NH = tanh(self.candidate(torch.cat((x_ND, r_NH * h_NH), dim=-1)))
        return ((h_NH - n_NH).mul_(z_NH).add_(n_NH),)


def _gates(negated_NO: Tensor) -> tuple[Tensor, Tensor]:
    """r and z of their negated sums; in place."""
    r_NH, z_NH = sigmoid_of_negative_(negated_NO).chunk(2, dim=-1)
    return r_NH, z_NH


def _negated(rows: Tensor, width: int) -> Tensor:
    """Rows of r and z negated; those of n as they are."""
    return torch.cat((-rows[: 2 * width], rows[2 * width :]))


@torch.no_grad()
def _of_input(layer: GRULayer, bound_D: Tensor) -> Weights:
    weight_OD = _negated(layer.input_weight, layer.width)
    return Weights(weight_OD, _negated(layer.bias, layer.width), bound_D)


@torch.no_grad()
def _of_state(layer: GRULayer, bound_H: Tensor) -> Weights:
    bias_O = torch.cat((bound_H.new_zeros(2 * layer.width), layer.candidate_bias))
    return Weights(_negated(layer.recurrent_weight, layer.width), bias_O, bound_H)


@torch.no_grad()
def _of_both(layer: GRULayer, bound_D: Tensor, *, is_gates: bool) -> Weights:
    weight_OD = torch.cat((layer.input_weight, layer.recurrent_weight), dim=1)
    rows = slice(0, 2 * layer.width) if is_gates else slice(2 * layer.width, None)
    scale = -1.0 if is_gates else 1.0
    return Weights(scale * weight_OD[rows], scale * layer.bias[rows], bound_D)
