"""The conditional decoder against its equations with the cell of the paper, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.cells.gru import GRULayer
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.memory import Memory
from s2s.nn.model import Seq2Seq
from s2s.recipe.cells import GRUCell
from s2s.recipe.model import AdditiveAttention, ConditionalDecoder, Encoder, Model, NoAttention
from tests.nn.test_equations import lstm
from tests.nn.test_model import LENGTHS, build, pairs

RECIPE = Model(
    embeddings=6,
    encoder=Encoder(width=5),
    attention=AdditiveAttention(kind="additive", width=7),
    decoder=ConditionalDecoder(kind="conditional", width=8),
)
GRU = replace(RECIPE, decoder=replace(RECIPE.decoder, cell=GRUCell(kind="gru", reset="before")))


def gru(layer: GRULayer, x: Tensor, h: Tensor) -> Tensor:
    (wr, wz, w), (ur, uz, u) = layer.input_weight.chunk(3), layer.recurrent_weight.chunk(3)
    br, bz, b = layer.bias.chunk(3)
    r, z = torch.sigmoid(wr @ x + ur @ h + br), torch.sigmoid(wz @ x + uz @ h + bz)
    return (1 - z) * torch.tanh(w @ x + u @ (r * h) + b) + z * h


def written_out(model: Seq2Seq, memory: Memory, row: int, target: Tensor) -> Tensor:
    """Logits [T, V] of a sentence."""
    decoder, scores = model.decoder, model.decoder.scores
    states = memory.states_BSD[row, : LENGTHS[row]]
    first, second = decoder.layer(0), decoder.layer(1)
    m = decoder.bridge.weight @ memory.final_BD[row] + decoder.bridge.bias
    s = torch.tanh(m)
    logits = []
    for y in target:
        e = model.target_embedding.weight[y]
        if isinstance(first, LSTMLayer):
            s, m = lstm(first, e, s, m)
        else:
            s = gru(first, e, s)
        inner = [scores.query.weight @ s + scores.source(state) for state in states]
        alpha = torch.softmax(torch.stack([scores.vector.weight[0] @ i.tanh() for i in inner]), 0)
        c = (alpha[:, None] * states).sum(0)
        s, m = lstm(second, c, s, m) if isinstance(second, LSTMLayer) else (gru(second, c, s), m)
        r = torch.tanh(decoder.readout.linear(torch.cat((s, c, e))))
        logits.append(model.output(r))
    return torch.stack(logits)


@pytest.mark.parametrize("recipe", [RECIPE, GRU], ids=["lstm", "gru"])
def test_it_is_its_equations_with_all_gradients(recipe: Model) -> None:
    model, (source, target) = build(recipe).double(), pairs()
    memory = model.encode(source, LENGTHS)
    expected = torch.stack([written_out(model, memory, row, target[row]) for row in range(3)])
    found = model(source, LENGTHS, target)
    # Scores and weights of attention are float32 for any type of the model.
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.square().mean(), parameters),
        torch.autograd.grad(expected.square().mean(), parameters),
        atol=1e-6,
        rtol=1e-4,
    )


def test_both_cells_have_the_normalization_of_a_recipe_and_upper_layers_the_residual() -> None:
    decoder = ConditionalDecoder(
        kind="conditional", width=10, layers=2, residual=True, layer_norm=True
    )
    recipe = replace(RECIPE, decoder=decoder)
    joins = [layer.join for layer in build(recipe).decoder.layers]
    # Encoder states are as wide as the decoder; but what the second cell reads is the context.
    assert [join.residual for join in joins] == [False, False, True]
    assert all(join.norm is not None for join in joins)


def test_it_needs_attention() -> None:
    with pytest.raises(ValueError, match=r"^decoder 'conditional' needs attention; .* 'luong'$"):
        replace(RECIPE, attention=NoAttention(kind="none"))
