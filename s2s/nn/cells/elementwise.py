"""Cells whose recurrence is elementwise: gates depend on the input alone.

    c' = a * c + b                        a and b of W x + d alone

- sru (Lei & Zhang 2017): f, r = sigmoid, a = f, b = (1 - f) * u, h = r * c' + (1 - r) * v, with v
  another projection of x, as layers may be wider than their inputs. Lei et al. 2018 also let c into
  the gates, which is no linear recurrence.
- ssru (Kim et al. 2019): a = f, b = (1 - f) * u, h = relu(c').
- mingru (Feng et al. 2024, section 3.1): a = f, b = (1 - f) * u, h = c', where f is their 1 - z.
- minlstm (the same, section 3.2): a = f / (f + i), b = i / (f + i) * u, h = c'.

So all products of a sequence are one product, and what remains is a scan (`s2s.nn.scan`). Nothing
bounds the state: products that read it run in bf16 where the search is in int8.

Dimension letters: T time, B sentences, N rows, D input width, H hidden width, G gates times H.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.activations import sigmoid_of_negative_
from s2s.nn.cells.base import Cell, CellState, LoopCell
from s2s.nn.kernels import product
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.matmul import Weights
from s2s.nn.scan import linear_recurrence
from s2s.recipe.cells import ElementwiseCell
from s2s.recipe.choices import SearchPrecision

SIGMOIDS = {"sru": 2, "ssru": 1, "mingru": 1, "minlstm": 2}
"""Gates of each kind that are sigmoids; the first one keeps the state."""

PLAIN = {"sru": 2, "ssru": 1, "mingru": 1, "minlstm": 1}
"""Projections of each kind that are none."""

LEAST = 2.0**-24
"""Least value of a gate that divides."""

ROWS = 256
"""Rows of a product over whole sequences in search: always as many, so that the shape is tested
once."""


class Terms(NamedTuple):
    """Of c' = a * c + b; [..., H] each."""

    a: Tensor
    b: Tensor
    read: tuple[Tensor, ...]
    """r and v of sru."""


class Recurrence(NamedTuple):
    """The equations of a kind, in layers of one width."""

    kind: Literal["sru", "ssru", "mingru", "minlstm"]
    width: int

    def terms(self, sigmoid: Callable[[Tensor], Tensor], sums: Tensor) -> Terms:
        """Terms of sums W x + d [..., G], in fp32: in bf16, small changes of the state are lost."""
        sums = sums.to(torch.promote_types(sums.dtype, torch.float32))
        sigmoids, plain = SIGMOIDS[self.kind], PLAIN[self.kind]
        widths = [sigmoids * self.width, plain * self.width]
        gates, projections = torch.split(sums, widths, dim=-1)
        f, *others = sigmoid(gates).chunk(sigmoids, dim=-1)
        u, *more = projections.chunk(plain, dim=-1)
        if self.kind == "minlstm":
            (i,) = others
            f, i = f.clamp_min(LEAST), i.clamp_min(LEAST)
            both = f + i
            return Terms(f / both, i / both * u, ())
        return Terms(f, (1.0 - f) * u, (*others, *more))

    def read(self, c: Tensor, terms: Terms) -> Tensor:
        """h of c'."""
        match self.kind:
            case "sru":
                r, v = terms.read
                return r * c + (1.0 - r) * v
            case "ssru":
                return torch.relu(c)
            case "mingru" | "minlstm":
                return c
            case _:
                assert_never(self.kind)

    def next_state(self, terms: Terms, state: CellState) -> CellState:
        """The state after a step, each operation rounded once."""
        c_NH = terms.a * state[1].to(terms.a.dtype) + terms.b
        return self.read(c_NH, terms), c_NH


class ElementwiseLayer(Cell):
    """One unidirectional layer, with the state (h, c)."""

    output_bound = float("inf")

    def __init__(
        self, input_width: int, width: int, recipe: ElementwiseCell, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__(input_width, width, recurrent_dropout)
        self.recurrence = Recurrence(recipe.kind, width)
        gates = SIGMOIDS[recipe.kind] + PLAIN[recipe.kind]
        self.linear = nn.Linear(input_width, gates * width)
        with torch.no_grad():
            for rows in self.linear.weight.chunk(gates):
                nn.init.xavier_uniform_(rows)
            self.linear.bias.zero_()
            self.linear.bias[:width] = recipe.forget_bias
            if recipe.kind == "minlstm":  # so that f / (f + i) is the sigmoid of the bias
                self.linear.bias[width : 2 * width] = -recipe.forget_bias

    @property
    def multiplications(self) -> int:
        """See `Cell`."""
        return self.linear.weight.numel()

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        """See `Cell`; one product and a scan."""
        sums_TBG = self.linear(x_TBD)
        terms = self.recurrence.terms(torch.sigmoid, sums_TBG)
        c_BH = terms.a.new_zeros(terms.a.shape[1:])
        if state is not None:
            c_BH = state[1].to(terms.a.dtype)
        c_TBH = linear_recurrence(terms.a, terms.b, c_BH)
        h_TBH = self.recurrence.read(c_TBH, terms).to(sums_TBG.dtype)
        return h_TBH, (h_TBH[-1], c_TBH[-1])

    def initial(self, bridge_NH: Tensor) -> CellState:
        """c = the projection."""
        return bridge_NH, bridge_NH

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        terms = self.recurrence.terms(torch.sigmoid, self.linear(x_ND))
        return self.recurrence.next_state(terms, state)

    def project(self, x: Tensor) -> Tensor:
        """W x + d [..., G] of the first input channels."""
        return F.linear(x, self.linear.weight[:, : x.shape[-1]], self.linear.bias)

    def in_loop(self, start: int = 0) -> LoopCell:
        """See `Cell`."""
        return LoopElementwise(self, start)

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        return QuantizedElementwiseLayer(self, bound_D, precision)

    def rounded_matrices(self, bound_D: Tensor) -> dict[tuple[str, ...], Tensor]:
        """See `Cell`. Negating the gates' rows, as search does, changes neither rounding."""
        return {("linear.weight",): bound_D}

    def for_rows(self, precision: SearchPrecision) -> nn.Module:
        """See `Cell`."""
        bound_D = torch.full((self.input_width,), float("inf"))
        return QuantizedElementwiseLayer(self, bound_D, precision)


class LoopElementwise:
    """`ElementwiseLayer.step` for a loop over time, see `LoopLinear`."""

    def __init__(self, layer: ElementwiseLayer, start: int) -> None:
        self.recurrence = layer.recurrence
        self.input: LoopLinear | None = None
        if start < layer.input_width:
            bias_G = None if start else layer.linear.bias
            self.input = LoopLinear(layer.linear.weight[:, start:], bias_G)

    def __call__(
        self, x_ND: Tensor, state: CellState, projected_NG: Tensor | None = None
    ) -> CellState:
        """See `LoopCell`."""
        sums_NG = projected_NG if self.input is None else self.input(x_ND, projected_NG)
        assert sums_NG is not None
        return self.recurrence.next_state(self.recurrence.terms(torch.sigmoid, sums_NG), state)


class QuantizedElementwiseLayer(nn.Module):
    """`ElementwiseLayer` for search (see `QuantizedLSTMLayer`)."""

    def __init__(
        self, layer: ElementwiseLayer, bound_D: Tensor, precision: SearchPrecision
    ) -> None:
        super().__init__()
        self.recurrence = layer.recurrence
        rebuild = partial(_negated_weights, layer, bound_D)
        self.product = product(rebuild(), precision, rebuild)

    def initial(self, bridge_NH: Tensor) -> CellState:
        """See `StepCell`."""
        return bridge_NH, bridge_NH

    def output(self, state: CellState) -> Tensor:
        """See `StepCell`."""
        return state[0]

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        """See `StepCell`."""
        terms = self.recurrence.terms(sigmoid_of_negative_, self.product(x_ND))
        return self.recurrence.next_state(terms, state)

    def forward(self, x_TBD: Tensor) -> tuple[Tensor, CellState]:
        """`Cell.forward` from a state of zeros, in which sentences are independent bit for bit."""
        time, batch, _ = x_TBD.shape
        rows_ND = x_TBD.flatten(0, 1).float()
        padded_ND = F.pad(rows_ND, (0, 0, 0, -len(rows_ND) % ROWS))
        sums_NG = torch.cat([self.product(part_ND) for part_ND in torch.split(padded_ND, ROWS)])
        sums_TBG = sums_NG[: len(rows_ND)].view(time, batch, -1)
        terms = self.recurrence.terms(sigmoid_of_negative_, sums_TBG)
        c_BH, c_TBH = terms.b.new_zeros(terms.b.shape[1:]), torch.empty_like(terms.b)
        for a_BH, b_BH, out_BH in zip(terms.a, terms.b, c_TBH, strict=True):
            c_BH = torch.add(a_BH * c_BH, b_BH, out=out_BH)
        h_TBH = self.recurrence.read(c_TBH, terms)
        return h_TBH.to(x_TBD.dtype), (h_TBH[-1], c_TBH[-1])


@torch.no_grad()
def _negated_weights(layer: ElementwiseLayer, bound_D: Tensor) -> Weights:
    """Weights and biases, those of sigmoids negated."""
    scale_G = torch.ones_like(layer.linear.bias)
    scale_G[: SIGMOIDS[layer.recurrence.kind] * layer.width] = -1.0
    weight_GD = layer.linear.weight * scale_G.unsqueeze(1)
    return Weights(weight_GD, layer.linear.bias * scale_G, bound_D)
