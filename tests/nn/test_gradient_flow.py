"""Gradients that go back through a layer, against products of Jacobians and plain autograd."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.batch import Batch
from s2s.nn.cells.base import Cell, CellState
from s2s.nn.cells.block import BlockLayer
from s2s.nn.cells.build import build_cell
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.gradient_flow import LayerTrace, decoder_trace, encoder_trace, lag_norms
from s2s.nn.model import Seq2Seq
from s2s.recipe.cells import SimpleCell
from s2s.recipe.model import (
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    NoAttention,
    PlainDecoder,
)
from s2s.special import BOS, PAD
from tests.nn.cells.test_build import CELLS, JOINS
from tests.nn.test_model import HARD, RECIPES, SOURCE_VOCABULARY, TARGET_VOCABULARY, name

TIME, ROWS, WIDTH = 6, 3, 4


@pytest.fixture(autouse=True)
def one(one_thread: None) -> None:
    pass


def traced(cell: Cell) -> LayerTrace:
    """A cell on random inputs, from a random first state, with random gradients of outputs."""
    inputs_TBD = torch.randn(TIME, ROWS, WIDTH).double()
    cell = cell.double()
    state, before = cell.initial(torch.randn(ROWS, WIDTH).double()), []
    with torch.no_grad():
        for x_BD in inputs_TBD:
            before.append(state)
            state = cell.step(x_BD, state)
    return LayerTrace(
        cell,
        inputs_TBD,
        tuple(torch.stack(parts) for parts in zip(*before, strict=True)),
        torch.randn(TIME, ROWS, WIDTH).double(),
        torch.ones(TIME, ROWS, dtype=torch.bool),
    )


def unrolled(trace: LayerTrace) -> Iterator[list[Tensor]]:
    """For each step t, the norms [B] at the memories of all steps before it, the latest first: the
    layer as one graph, whose memories keep their gradients."""
    cell = trace.cell
    for last in range(TIME):
        state = tuple(part[0] for part in trace.before)
        memories = []
        for x_BD in trace.inputs_TBD[: last + 1]:
            state = cell.step(x_BD, state)
            memory = cell.memory(state)
            memory.retain_grad()
            memories.append(memory)
        (cell.output(state) * trace.gradients_TBH[last]).sum().backward()
        norms = []
        for memory in reversed(memories):
            assert memory.grad is not None
            norms.append(memory.grad.norm(dim=-1))
        yield norms


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("kind", CELLS)
def test_they_are_those_of_one_graph(kind: str, join: str) -> None:
    cell = build_cell(WIDTH, WIDTH, CELLS[kind])
    residual, layer_norm = JOINS[join]
    if join:
        cell = BlockLayer(cell, residual=residual, layer_norm=layer_norm)
    trace = traced(cell)
    found = list(lag_norms(trace, lags=TIME))
    assert [len(norms) for norms in found] == [TIME - lag for lag in range(TIME)]
    for last, norms in enumerate(unrolled(trace)):
        for lag, norm_B in enumerate(norms):
            torch.testing.assert_close(found[lag][last - lag], norm_B, rtol=1e-9, atol=1e-12)


def test_a_simple_network_multiplies_jacobians() -> None:
    """g diag(1 - h_t^2) U diag(1 - h_{t-1}^2) U ... (Pascanu et al. 2013, equation 5)."""
    cell = build_cell(WIDTH, WIDTH, SimpleCell(kind="tanh", recurrent_init="glorot"))
    trace = traced(cell)
    input_HD, recurrent_HH, *biases = (parameter.detach() for parameter in cell.parameters())
    outputs = []
    h_BH = trace.before[0][0]
    for x_BD in trace.inputs_TBD:
        h_BH = torch.tanh(x_BD @ input_HD.T + h_BH @ recurrent_HH.T + sum(biases))
        outputs.append(h_BH)
    for lag, norms in enumerate(lag_norms(trace, lags=3)):
        for last in range(lag, TIME):
            for row in range(ROWS):
                gradient_H = trace.gradients_TBH[last, row]
                for step in range(last, last - lag, -1):
                    jacobian_HH = torch.diag(1 - outputs[step][row] ** 2) @ recurrent_HH
                    gradient_H = gradient_H @ jacobian_HH
                assert float(norms[last - lag, row]) == pytest.approx(
                    float(gradient_H.norm()), rel=1e-9
                )


def test_an_lstm_that_keeps_its_cell_loses_nothing() -> None:
    """The constant error carousel (Hochreiter & Schmidhuber 1997): with forget gate 1, input gate 0
    and gates that read no state, c and what goes back to it stay the same."""
    cell = build_cell(WIDTH, WIDTH, CELLS["lstm"])
    assert isinstance(cell, LSTMLayer)
    with torch.no_grad():
        cell.recurrent_weight.zero_()
        cell.input_weight.zero_()
        bias = cell.lstm.bias_ih_l0
        assert isinstance(bias, Tensor)
        bias.zero_()
        bias[:WIDTH], bias[WIDTH : 2 * WIDTH] = -100.0, 100.0
    trace = traced(cell)
    first, *others = lag_norms(trace, lags=TIME)
    c_BH = trace.before[1][0]
    gradients_TBH = 0.5 * (1 - torch.tanh(c_BH) ** 2) * trace.gradients_TBH
    torch.testing.assert_close(first, gradients_TBH.norm(dim=-1))
    for lag, norms in enumerate(others, start=1):
        torch.testing.assert_close(norms, first[lag:], rtol=1e-12, atol=0.0)


def test_what_a_float_cannot_hold_is_still_measured() -> None:
    cell = build_cell(WIDTH, WIDTH, SimpleCell(kind="tanh"))
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(1e-10)
    *_, last = lag_norms(traced(cell), lags=TIME)
    assert 0 < float(last.max()) < 1e-45


def batch(lengths: tuple[tuple[int, int], ...]) -> Batch:
    """Random pairs with these numbers of tokens."""
    sources, targets = (torch.tensor(side) for side in zip(*lengths, strict=True))
    source_BS = torch.randint(4, SOURCE_VOCABULARY, (len(lengths), int(sources.max())))
    target_BT = torch.randint(4, TARGET_VOCABULARY, (len(lengths), int(targets.max())))
    source_BS[torch.arange(source_BS.shape[1]) >= sources[:, None]] = PAD
    target_BT[torch.arange(target_BT.shape[1]) >= targets[:, None]] = PAD
    input_BT = torch.cat((torch.full((len(lengths), 1), BOS), target_BT[:, :-1]), dim=1)
    return Batch(source_BS, sources, input_BT, target_BT, targets)


COPYING = Model(
    embeddings=6,
    encoder=Encoder(width=5),
    attention=GeneralAttention(kind="general"),
    decoder=LuongDecoder(kind="luong", layers=2, width=12, layer_norm=True, residual=True),
    copy="pointer",
    coverage=True,
    context_gate=True,
)
ALL = [one for one in (*RECIPES, *HARD, COPYING) if one.decoder.kind != "conditional"]
"""Gradients through the two cells of a conditional step are refused in one line."""


def built(recipe: Model) -> Seq2Seq:
    """A model in evaluation, with larger weights, so that it is not almost linear."""
    table = torch.arange(SOURCE_VOCABULARY) if recipe.copy == "pointer" else None
    has_text = recipe.decoder.kind != "plain"
    model = Seq2Seq(recipe, SOURCE_VOCABULARY if has_text else None, TARGET_VOCABULARY, None, table)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model.eval().requires_grad_(False)


def names(recipe: Model) -> str:
    return "copying" if recipe is COPYING else name(recipe)


def losses(model: Seq2Seq, pairs: Batch) -> Tensor:
    """The losses [B, T] under teacher forcing."""
    logits = model(pairs.source, pairs.source_lengths, pairs.target_input)
    return F.cross_entropy(
        logits.transpose(1, 2), pairs.target_output, ignore_index=PAD, reduction="none"
    )


@pytest.mark.parametrize("recipe", ALL, ids=names)
def test_the_gradient_of_an_output_is_what_the_loss_of_its_step_makes_of_it(recipe: Model) -> None:
    """Against finite differences: the step with the layer's output moved a little."""
    model = built(recipe)
    pairs = batch(((5, 4), (3, 4)))
    trace = decoder_trace(model, pairs)
    assert trace.cell is model.decoder.layers[0]
    memory = model.encode(pairs.source, pairs.source_lengths)
    state = model.start(memory)
    direction_BH = torch.randn_like(trace.gradients_TBH[0])
    output = trace.cell.output
    for step in range(3):
        before, tokens_B = state.layers[0], pairs.target_input[:, step]
        found = []
        for shift in (-1e-2, 1e-2):

            def moved(new: CellState, shift: float = shift, before: CellState = before) -> Tensor:
                """The step's own output is moved, not the one before, which attention may read."""
                return output(new) + (0.0 if new is before else shift) * direction_BH

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trace.cell, "output", moved)
                logits = model.step(memory, state, tokens_B).logits
            found.append(F.cross_entropy(logits, pairs.target_output[:, step], reduction="none"))
        slope_B = (found[1] - found[0]) / 2e-2
        expected_B = (trace.gradients_TBH[step] * direction_BH).sum(-1)
        torch.testing.assert_close(expected_B, slope_B, rtol=2e-2, atol=2e-3)
        state = model.step(memory, state, tokens_B).state


def test_a_language_model_with_one_layer_is_one_graph() -> None:
    """Its recurrence is the only path from a step to a later one, so what is measured is the whole
    gradient of the loss."""
    recipe = Model(
        embeddings=6,
        attention=NoAttention(kind="none"),
        decoder=PlainDecoder(kind="plain", layers=1, width=WIDTH),
    )
    model = built(recipe)
    pairs = batch(((1, TIME), (1, TIME - 2)))
    norms = list(lag_norms(decoder_trace(model, pairs), lags=TIME))
    layer = model.decoder.layer(0)
    state, memories, found = model.start(model.encode(pairs.source, pairs.source_lengths)), [], []
    state = state.layers[0]
    for step in range(TIME):
        tokens_B = pairs.target_input[:, step]
        x_BE = model.target_embedding(tokens_B).requires_grad_()
        state = layer.step(x_BE, state)
        memories.append(layer.memory(state))
        logits = model.output(model.decoder.readout(layer.output(state)))
        found.append(
            F.cross_entropy(logits, pairs.target_output[:, step], ignore_index=PAD, reduction="sum")
        )
    for last, loss in enumerate(found):
        gradients = torch.autograd.grad(loss, memories[: last + 1], retain_graph=True)
        for place, gradient_BH in enumerate(gradients):
            torch.testing.assert_close(
                norms[last - place][place], gradient_BH.norm(dim=-1).double(), rtol=1e-4, atol=1e-7
            )


@pytest.mark.parametrize("recipe", ALL, ids=names)
def test_the_gradients_of_an_encoder_are_those_of_its_weights(recipe: Model) -> None:
    """A variable that is added to the forward layer's outputs has the same gradient; padding has
    none."""
    model = built(recipe)
    pairs = batch(((5, 4), (3, 2)))
    trace = encoder_trace(model, pairs)
    assert trace.inside_TB.tolist() == [[True, True]] * 3 + [[True, False]] * 2
    assert model.encoder is not None and trace.cell is model.encoder.forward_layers[0]
    added_SBH = torch.zeros_like(trace.gradients_TBH).requires_grad_()
    hook = trace.cell.register_forward_hook(
        lambda module, inputs, outputs: (outputs[0] + added_SBH, outputs[1])
    )
    losses(model, pairs).sum().backward()
    hook.remove()
    assert added_SBH.grad is not None
    torch.testing.assert_close(trace.gradients_TBH, added_SBH.grad, rtol=1e-4, atol=1e-6)
    assert bool((trace.gradients_TBH[~trace.inside_TB] == 0).all())
    assert bool((trace.gradients_TBH[trace.inside_TB].norm(dim=-1) > 0).all())
