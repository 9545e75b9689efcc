"""Another cell in the place of the LSTM, in every decoder."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells.base import Cell, CellState, LoopCell
from s2s.nn.cells.build import CELLS
from s2s.nn.inference_model import inference_model
from s2s.nn.kernels import product
from s2s.nn.matmul import Weights
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import Model
from tests.nn import test_model as models
from tests.nn.test_model import LENGTHS, RECIPES, build, name, pairs


class TanhCell(Cell):
    """h' = tanh(W x + b + U h) (Elman 1990), with one tensor of state."""

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__(input_width, width)
        self.rnn = nn.RNN(input_width, width)

    @property
    def multiplications(self) -> int:
        return self.rnn.weight_ih_l0.numel() + self.rnn.weight_hh_l0.numel()

    def forward(self, x_TBD: Tensor, state: CellState | None = None) -> tuple[Tensor, CellState]:
        h_TBH, h_1BH = self.rnn(x_TBD, None if state is None else state[0].unsqueeze(0))
        return h_TBH, (h_1BH[0],)

    def initial(self, bridge_NH: Tensor) -> CellState:
        return (torch.tanh(bridge_NH),)

    def output(self, state: CellState) -> Tensor:
        return state[0]

    def project(self, x: Tensor) -> Tensor:
        bias = self.rnn.bias_ih_l0 + self.rnn.bias_hh_l0
        return F.linear(x, self.rnn.weight_ih_l0[:, : x.shape[-1]], bias)

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        return self.in_loop()(x_ND, state)

    def in_loop(self, start: int = 0) -> LoopCell:
        def step(x_ND: Tensor, state: CellState, projected_NH: Tensor | None = None) -> CellState:
            if projected_NH is None:
                projected_NH = self.project(x_ND[:, :0])
            input_NH = F.linear(x_ND, self.rnn.weight_ih_l0[:, start:])
            recurrent_NH = F.linear(state[0], self.rnn.weight_hh_l0)
            return (torch.tanh(projected_NH + input_NH + recurrent_NH),)

        return step

    def quantized(self, bound_D: Tensor, precision: SearchPrecision) -> nn.Module:
        return QuantizedTanhCell(self, bound_D, precision)


class QuantizedTanhCell(nn.Module):
    """`TanhCell.step` as one product over [x; h]."""

    def __init__(self, cell: TanhCell, bound_D: Tensor, precision: SearchPrecision) -> None:
        super().__init__()
        self.initial, self.output = cell.initial, cell.output
        weight_OD = torch.cat((cell.rnn.weight_ih_l0, cell.rnn.weight_hh_l0), dim=1).detach()
        bias_O = (cell.rnn.bias_ih_l0 + cell.rnn.bias_hh_l0).detach()
        bound_D = torch.cat((bound_D, bound_D.new_ones(cell.width)))
        self.product = product(Weights(weight_OD, bias_O, bound_D), precision)

    def step(self, x_ND: Tensor, state: CellState) -> CellState:
        return (self.product(torch.cat((x_ND, state[0]), dim=-1)).tanh_(),)


@pytest.fixture(autouse=True)
def tanh_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CELLS, "lstm", TanhCell)


every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=name)


def test_layers_are_those_of_the_table() -> None:
    model = build(RECIPES[0])
    assert isinstance(model.decoder.layer(0), TanhCell)
    assert not [one for one in model.modules() if isinstance(one, nn.LSTM)]


@every_recipe
def test_step_by_step_is_teacher_forced_with_another_cell(recipe: Model) -> None:
    models.test_step_by_step_is_teacher_forced(recipe)


@every_recipe
def test_gradients_are_those_of_teacher_forcing_with_another_cell(recipe: Model) -> None:
    models.test_gradients_step_by_step_are_those_of_teacher_forcing(recipe, gated=False)


@every_recipe
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_model_for_search_is_near_with_another_cell(
    recipe: Model, precision: SearchPrecision
) -> None:
    model, (source, target) = build(recipe), pairs()
    tolerance = {"fp32": 1e-5, "bf16": 0.1, "int8": 0.1}[precision]
    with torch.inference_mode():
        steps = []
        for scorer in (model, inference_model(model, precision)):
            memory = scorer.encode(source, LENGTHS)
            state = scorer.start(memory).select(torch.tensor([0, 0, 1, 1, 2, 2]))
            steps.append(scorer.step(memory, state, target[:, :2].flatten()).logits)
        spread = steps[0].std()
        assert (steps[1] - steps[0]).std() <= tolerance * spread
