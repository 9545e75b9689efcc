"""Every cell in every decoder: teacher forcing, search and a batch agree."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from s2s.nn.cells.base import Cell
from s2s.nn.cells.block import BlockLayer
from s2s.nn.cells.build import build_cell, build_layers
from s2s.nn.inference_model import inference_model, rounded_matrices
from s2s.nn.stored_weights import read_weights, round_weights
from s2s.recipe.cells import AnyCell, ElementwiseCell, GRUCell, LSTMCell, SimpleCell
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import AnyDecoder, Encoder, GeneralAttention, LuongDecoder, Model
from tests.nn import test_model as models
from tests.nn.test_model import DECODERS, LENGTHS, build, pairs

CELLS: dict[str, AnyCell] = {
    "lstm": LSTMCell(kind="lstm"),
    "gru": GRUCell(kind="gru"),
    "gru-before": GRUCell(kind="gru", reset="before"),
    "tanh": SimpleCell(kind="tanh"),
    "relu": SimpleCell(kind="relu"),
    "sru": ElementwiseCell(kind="sru"),
    "ssru": ElementwiseCell(kind="ssru"),
    "mingru": ElementwiseCell(kind="mingru"),
    "minlstm": ElementwiseCell(kind="minlstm"),
}
JOINS = {"": (False, False), "residual": (True, False), "norm": (False, True), "both": (True, True)}


def recipe(cell: str, decoder: AnyDecoder, join: str = "") -> Model:
    residual, layer_norm = JOINS[join]
    own = {"cell": CELLS[cell], "residual": residual, "layer_norm": layer_norm}
    return Model(
        embeddings=6,
        encoder=Encoder(layers=3, width=5, **own),  # type: ignore[arg-type]
        attention=GeneralAttention(kind="general"),
        decoder=replace(decoder, **own),
    )


def name(decoder: AnyDecoder) -> str:
    fed = "-feeding" if getattr(decoder, "input_feeding", False) else ""
    return f"{decoder.kind}{decoder.layers}{fed}"


every_cell = pytest.mark.parametrize("cell", CELLS)
every_decoder = pytest.mark.parametrize("decoder", DECODERS, ids=name)
other_cell = pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "lstm"])
every_join = pytest.mark.parametrize("join", list(JOINS)[1:])
with_join = pytest.mark.parametrize("cell", ["lstm", "gru", "ssru"])


@other_cell
@every_decoder
def test_step_by_step_is_teacher_forced(cell: str, decoder: AnyDecoder) -> None:
    models.test_step_by_step_is_teacher_forced(recipe(cell, decoder))


@with_join
@every_join
@every_decoder
def test_step_by_step_is_teacher_forced_with_joins(
    cell: str, decoder: AnyDecoder, join: str
) -> None:
    models.test_step_by_step_is_teacher_forced(recipe(cell, decoder, join))


@other_cell
@every_decoder
def test_gradients_are_those_of_teacher_forcing(cell: str, decoder: AnyDecoder) -> None:
    models.test_gradients_step_by_step_are_those_of_teacher_forcing(
        recipe(cell, decoder), gated=False
    )


@with_join
@every_join
@every_decoder
def test_gradients_are_those_of_teacher_forcing_with_joins(
    cell: str, decoder: AnyDecoder, join: str
) -> None:
    models.test_gradients_step_by_step_are_those_of_teacher_forcing(
        recipe(cell, decoder, join), gated=False
    )


@other_cell
def test_padding_reaches_no_sentence(cell: str) -> None:
    models.test_a_sentence_alone_is_the_sentence_in_a_batch(recipe(cell, DECODERS[1], "both"))


@every_cell
def test_every_parameter_is_trained(cell: str) -> None:
    models.test_every_parameter_is_trained(recipe(cell, DECODERS[1], "both"))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@every_cell
@pytest.mark.parametrize("join", ["", "both"])
def test_the_model_for_search_is_near(cell: str, precision: SearchPrecision, join: str) -> None:
    if cell == "lstm" and not join:
        pytest.skip("tests/nn/test_inference_model.py")
    model, (source, target) = build(recipe(cell, DECODERS[1], join)), pairs()
    tolerance = {"fp32": 1e-5, "bf16": 0.1, "int8": 0.1}[precision]
    with torch.inference_mode():
        steps = []
        for scorer in (model, inference_model(model, precision)):
            memory = scorer.encode(source, LENGTHS)
            state = scorer.start(memory).select(torch.tensor([0, 0, 1, 1, 2, 2]))
            steps.append(scorer.step(memory, state, target[:, :2].flatten()).logits)
        spread = steps[0].std()
        assert (steps[1] - steps[0]).std() <= tolerance * spread


@pytest.mark.kernels
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@every_cell
@pytest.mark.parametrize("join", ["", "both"])
def test_a_sentence_in_search_does_not_depend_on_others(
    cell: str, precision: SearchPrecision, join: str
) -> None:
    model = inference_model(build(recipe(cell, DECODERS[1], join)), precision)
    draw = torch.Generator().manual_seed(1)
    source = torch.randint(4, 11, (7, 9), generator=draw)
    lengths = torch.tensor([9, 3, 1, 9, 5, 9, 2])
    tokens = torch.randint(4, 13, (7,), generator=draw)

    def logits(source: Tensor, lengths: Tensor, tokens: Tensor) -> Tensor:
        memory = model.encode(source, lengths)
        return model.step(memory, model.start(memory), tokens).logits

    with torch.inference_mode():
        whole = logits(source, lengths, tokens)
        for row in range(7):
            # The shape stays: of another one kernels may round otherwise, so search has few.
            order = torch.randperm(7, generator=draw)
            others = torch.randint(4, 11, source.shape, generator=draw)
            others[row], length = source[row], torch.full((7,), 9)
            length[row] = lengths[row]
            found = logits(others[order], length[order], tokens[order])
            assert torch.equal(found[order == row], whole[row : row + 1])


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@every_cell
@pytest.mark.parametrize("join", ["", "both"])
def test_stored_weights_search_as_the_trained_ones(
    cell: str, precision: SearchPrecision, join: str
) -> None:
    trained, (source, target) = build(recipe(cell, DECODERS[1], join)), pairs()
    stored = round_weights(trained.state_dict(), rounded_matrices(trained), precision)
    loaded = build(recipe(cell, DECODERS[1], join))
    loaded.load_state_dict(read_weights(stored, "here"))
    found = []
    with torch.inference_mode():
        for model in (trained, loaded):
            scorer = inference_model(model, precision)
            memory = scorer.encode(source, LENGTHS)
            found.append(scorer.step(memory, scorer.start(memory), target[:, 0]).logits)
    assert torch.equal(*found)


def test_residual_connections_begin_at_the_second_layer_and_join_equal_widths() -> None:
    section = LuongDecoder(kind="luong", layers=3, residual=True)
    first, second, third = build_layers(section, [5, 7, 5], 5)
    assert not isinstance(first, BlockLayer)
    assert not isinstance(second, BlockLayer)
    assert isinstance(third, BlockLayer)
    assert third.output_bound == 2.0


def test_normalized_outputs_have_mean_0_and_deviation_1() -> None:
    section = LuongDecoder(kind="luong", layer_norm=True)
    (layer,) = build_layers(section, [6], 5)
    outputs, _ = layer(torch.randn(4, 3, 6))
    torch.testing.assert_close(outputs.mean(-1), torch.zeros(4, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(outputs.var(-1, unbiased=False), torch.ones(4, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-before", "tanh", "relu"])
def test_recurrent_weights_are_dropped_in_training_alone(cell: str) -> None:
    torch.manual_seed(1)
    layer = build_cell(4, 6, CELLS[cell], recurrent_dropout=0.5).train()
    x_TBD = torch.randn(5, 3, 4)
    same = layer(x_TBD[:1])[0]
    torch.testing.assert_close(layer(x_TBD[:1])[0], same)  # from zeros, U reads nothing
    assert not torch.allclose(layer(x_TBD)[0], layer(x_TBD)[0])
    layer.eval()
    torch.testing.assert_close(layer(x_TBD)[0], layer(x_TBD)[0])


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-before", "tanh", "relu"])
def test_one_mask_of_weights_holds_for_a_sequence(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    layer = build_cell(4, 6, CELLS[cell], recurrent_dropout=0.5).train()
    mask_OH: list[torch.Tensor] = []

    def drop(self: Cell, matrix_OH: torch.Tensor) -> torch.Tensor:
        if not mask_OH:
            mask_OH.append(nn.functional.dropout(torch.ones_like(matrix_OH), 0.5))
        return matrix_OH * mask_OH[0]

    x_TBD = torch.randn(5, 3, 4)
    monkeypatch.setattr(Cell, "drop_weights", drop)
    whole, _ = layer(x_TBD)
    step, state, found = layer.in_loop(), layer.initial(torch.zeros(3, 6)), []
    for x_BD in x_TBD:
        state = step(x_BD, state)
        found.append(layer.output(state))
    torch.testing.assert_close(torch.stack(found), whole)
    weights = [one for one in layer.parameters() if one.shape[-1] == 6 and one.dim() == 2]
    assert len(weights) == 1
    with torch.no_grad():
        weights[0].mul_(mask_OH[0])
    monkeypatch.undo()
    torch.testing.assert_close(layer.eval()(x_TBD)[0], whole)
