"""Layers of several cells a step: a loop of their cells, in training and in search."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.cells.build import build_cell
from s2s.nn.cells.gru import GRULayer
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.cells.simple import SimpleLayer
from s2s.nn.cells.transition import TransitionLayer
from s2s.nn.gradient_flow import LayerTrace, lag_norms
from s2s.nn.inference_model import inference_model, rounded_matrices
from s2s.recipe.cells import AnyCell, ElementwiseCell, GRUCell, LSTMCell, SimpleCell
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import ConditionalDecoder, Encoder, GeneralAttention, Model, StackedDecoder
from tests.nn import test_inference_model as inference
from tests.nn import test_model as models

CELLS: dict[str, AnyCell] = {
    "lstm": LSTMCell(kind="lstm"),
    "gru": GRUCell(kind="gru"),
    "gru-before": GRUCell(kind="gru", reset="before"),
    "tanh": SimpleCell(kind="tanh"),
    "relu": SimpleCell(kind="relu"),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def layer_of(cell: AnyCell, cells: int = 3) -> TransitionLayer:
    torch.manual_seed(3)
    layer = build_cell(4, 5, cell, 0.0, cells)
    assert isinstance(layer, TransitionLayer)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.double()


def plain(cell: torch.nn.Module, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """A step of a cell, x with no channels for one without input."""
    w, u, b = cell.input_weight, cell.recurrent_weight, cell.bias
    sums = x @ w.T if x.shape[1] else x.new_zeros(len(x), len(w))
    if isinstance(cell, LSTMLayer):
        i, f, g, o = (sums + h @ u.T + b).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
    if isinstance(cell, SimpleLayer):
        return cell.activation(sums + h @ u.T + b), c
    assert isinstance(cell, GRULayer)
    (xr, xz, xn), (ur, uz, un) = (sums + b).chunk(3, dim=1), u.chunk(3)
    r, z = torch.sigmoid(xr + h @ ur.T), torch.sigmoid(xz + h @ uz.T)
    if cell.resets_before:
        n = torch.tanh(xn + (r * h) @ un.T)
    else:
        n = torch.tanh(xn + r * (h @ un.T + cell.candidate_bias))
    return (1 - z) * n + z * h, c


@every_cell
def test_a_layer_is_its_equations_with_all_gradients(cell: AnyCell) -> None:
    layer, x_TBD = layer_of(cell), torch.randn(4, 2, 4).double().requires_grad_()
    state = layer.initial(torch.randn(2, 5).double())
    h, c, expected = state[0], state[-1], []
    for x in x_TBD:
        h, c = plain(layer.cell, x, h, c)
        for one in layer.transitions:
            h, c = plain(one, x[:, :0], h, c)
        expected.append(h)
    found, last = layer(x_TBD, state)
    torch.testing.assert_close(found, torch.stack(expected))
    torch.testing.assert_close(last, (h, c) if len(last) == 2 else (h,))
    stepped = state
    for x in x_TBD:
        stepped = layer.step(x, stepped)
    torch.testing.assert_close(stepped, last)
    inputs = [x_TBD, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(torch.stack(expected).square().sum(), inputs),
    )


def test_one_cell_is_the_layer_of_before() -> None:
    torch.manual_seed(3)
    expected = build_cell(4, 5, CELLS["lstm"])
    torch.manual_seed(3)
    found = build_cell(4, 5, CELLS["lstm"], 0.0, 1)
    assert isinstance(found, LSTMLayer)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=0, atol=0)
    torch.manual_seed(3)
    first = build_cell(4, 5, CELLS["lstm"], 0.0, 2).cell
    torch.testing.assert_close(first.state_dict(), expected.state_dict(), rtol=0, atol=0)


def deep(cell: AnyCell, *, conditional: bool = False) -> Model:
    decoder = StackedDecoder(kind="stacked", width=12, cell=cell, transitions=3)
    if conditional:
        decoder = ConditionalDecoder(
            kind="conditional", width=12, cell=cell, transitions=3, layer_norm=True
        )
    return Model(
        embeddings=6,
        encoder=Encoder(layers=2, width=5, cell=cell, transitions=2, residual=True),
        attention=GeneralAttention(kind="general"),
        decoder=decoder,
    )


# Units of ReLU that these random weights leave at zero have no gradients.
BOUNDED = {kind: cell for kind, cell in CELLS.items() if kind != "relu"}
RECIPES = [deep(cell) for cell in BOUNDED.values()] + [deep(CELLS["gru"], conditional=True)]
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=[*BOUNDED, "conditional"])


@every_recipe
def test_models_step_by_step_alone_and_in_batches(recipe: Model) -> None:
    models.test_step_by_step_is_teacher_forced(recipe)
    models.test_a_sentence_alone_is_the_sentence_in_a_batch(recipe)
    models.test_every_parameter_is_trained(recipe)


@pytest.mark.kernels
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[1], RECIPES[-1]], ids=["l", "g", "c"])
def test_search_rounds_as_with_single_cells(recipe: Model, precision: SearchPrecision) -> None:
    if precision == "fp32":
        inference.test_in_fp32_the_step_is_that_of_training(recipe)
        return
    model = models.build(recipe)
    with torch.no_grad():
        (_, expected), (_, found) = (
            inference.two_steps(one) for one in (model, inference_model(model, precision))
        )
    error = (found.logits - expected.logits).std() / expected.logits.std()
    assert 0.0 < error < 0.1


def test_the_first_cell_of_the_conditional_decoder_is_single() -> None:
    first, second = models.build(replace(RECIPES[-1])).decoder.layers
    assert isinstance(first.cell, GRULayer)
    assert isinstance(second.cell, TransitionLayer)


def test_matrices_to_store_rounded_are_parameters_with_a_bound_for_each_channel() -> None:
    for recipe in RECIPES[:2]:
        model = models.build(recipe)
        weights = dict(model.named_parameters())
        found = rounded_matrices(model)
        assert any("transitions.1" in name for names in found for name in names)
        for names, bound_D in found.items():
            assert sum(weights[name].shape[1] for name in names) == len(bound_D)


def test_gradients_go_back_through_all_cells_of_a_step() -> None:
    """Of the simple network, d_{t,1} is g_t times the product of the Jacobians of all cells."""
    layer = layer_of(CELLS["tanh"], 2)
    x_TBD, start = torch.randn(3, 1, 4).double(), (torch.randn(1, 5).double(),)
    before, state = [], start
    for x in x_TBD:
        before.append(state[0])
        state = layer.step(x, state)
    g_TBH = torch.randn(3, 1, 5).double()
    inside = torch.ones(3, 1, dtype=torch.bool)
    trace = LayerTrace(layer, x_TBD, (torch.stack(before).detach(),), g_TBH, inside)
    _, found, *_ = lag_norms(trace, 1)
    for t in (1, 2):
        jacobian = torch.autograd.functional.jacobian(
            lambda h, x=x_TBD[t]: layer.step(x, (h,))[0].squeeze(0), before[t].detach()
        ).squeeze(1)
        expected = (g_TBH[t, 0] @ jacobian).norm()
        torch.testing.assert_close(found[t - 1, 0], expected)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_cells_without_a_recurrent_matrix_have_no_transitions(side: str) -> None:
    section = replace(getattr(RECIPES[0], side), cell=ElementwiseCell(kind="sru"))
    message = rf"^{side}\.transitions: expected 1, found [23]: cell 'sru' has no recurrent matrix"
    with pytest.raises(ValueError, match=message):
        replace(RECIPES[0], **{side: section})
