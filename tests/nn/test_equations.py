"""The default model is the equations of docs/model.md, computed one sentence and step at a time."""

from dataclasses import replace

import torch
from torch import Tensor

from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import Encoder, Model, StackedDecoder
from tests.nn.test_model import LENGTHS, build, pairs

Pair = tuple[Tensor, Tensor]


def lstm(layer: LSTMLayer, u: Tensor, h: Tensor, m: Tensor) -> Pair:
    i, f, g, o = (layer.input_weight @ u + layer.recurrent_weight @ h + layer.bias).chunk(4)
    m = torch.sigmoid(f) * m + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(m), m


def encoded(model: Seq2Seq, source: list[int]) -> Pair:
    """Lines 1 to 3: s [S, D] and the source as one vector."""
    encoder = model.encoder
    assert encoder is not None and model.source_embedding is not None
    columns = []
    for layer, order in ((encoder.forward_layers[0], 1), (encoder.backward_layers[0], -1)):
        h = m = torch.zeros(encoder.forward_layers[0].width)
        hs = []
        for x in source[::order]:
            h, m = lstm(layer, model.source_embedding.weight[x], h, m)
            hs.append(h)
        columns.append(torch.stack(hs[::order]))
    forward, backward = columns
    return torch.cat(columns, dim=1), torch.cat((forward[-1], backward[0]))


def log_probs(model: Seq2Seq, source: list[int], target: list[int]) -> Tensor:
    """Lines 4 to 10: log-probabilities [T, V] of the token after each of the target's."""
    s, whole = encoded(model, source)
    decoder = model.decoder
    first, second = decoder.layer(0), decoder.layer(1)
    m1, m2 = (decoder.bridge.weight @ whole + decoder.bridge.bias).chunk(2)
    h1, h2 = torch.tanh(m1), torch.tanh(m2)
    linear, found = decoder.readout.linear, []
    for y in target:
        e = model.target_embedding.weight[y]
        h1, m1 = lstm(first, e, h1, m1)
        a = torch.stack([h1 @ (decoder.scores.projection.weight @ s_j) for s_j in s])
        alpha = a.exp() / a.exp().sum()
        c = (alpha[:, None] * s).sum(0)
        h2, m2 = lstm(second, torch.cat((h1, c)), h2, m2)
        r = torch.tanh(linear.weight @ torch.cat((h2, c, e)) + linear.bias)
        found.append((model.target_embedding.weight @ r + model.output.bias).log_softmax(0))
    return torch.stack(found)


def test_the_default_model_is_its_equations() -> None:
    kinds = Model().attention.kind, Model().decoder.kind, Model().tied
    assert kinds == ("general", "stacked", "output")
    sizes = {"encoder": Encoder(width=4), "decoder": StackedDecoder(kind="stacked", width=7)}
    model, (source, target) = build(replace(Model(), embeddings=5, **sizes)), pairs()
    whole = model(source, LENGTHS, target).log_softmax(-1)
    for row, length in enumerate(LENGTHS.tolist()):
        expected = log_probs(model, source[row, :length].tolist(), target[row].tolist())
        torch.testing.assert_close(whole[row], expected, atol=1e-5, rtol=1e-5)
