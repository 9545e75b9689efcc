"""Attention of several heads against its equations, one head, query and position at a time."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.attention import attend, attend_rows, attend_times, pooled_scores
from s2s.nn.attention_heads import AdditiveHeads, BilinearHeads, MultiHeadScores, build_heads
from s2s.nn.inference_model import inference_model
from s2s.nn.memory import Memory
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import (
    AdditiveAttention,
    Attention,
    DotAttention,
    Encoder,
    GeneralAttention,
    Model,
    NoAttention,
    StackedDecoder,
)
from tests.nn.test_model import LENGTHS, RECIPES, build, heads_of, name, pairs

STATES, QUERY = 5, 6
MASK = torch.arange(4) < torch.tensor([4, 2]).unsqueeze(1)
ALL: list[Attention] = [
    DotAttention(kind="dot", heads=2),
    DotAttention(kind="scaled_dot", heads=3),
    GeneralAttention(kind="general", heads=3),
    AdditiveAttention(kind="additive", width=9, heads=3),
    AdditiveAttention(kind="additive", heads=2),
]
every_kind = pytest.mark.parametrize("recipe", ALL, ids=lambda one: f"{one.kind}{one.heads}")
with_heads = pytest.mark.parametrize(
    "recipe", [recipe for recipe in RECIPES if heads_of(recipe) > 1], ids=name
)


def heads(recipe: Attention) -> tuple[MultiHeadScores, Memory]:
    torch.manual_seed(0)
    scores = build_heads(recipe, STATES, QUERY)
    assert scores is not None
    scores.double()
    states = torch.randn(2, 4, STATES).double().requires_grad_()
    inside = states * MASK.unsqueeze(-1)
    final = torch.randn(2, STATES).double()
    keys, values = scores.keys(inside), scores.values(inside)
    return scores, Memory(states, keys, MASK, final, MASK, values=values)


def part(x: Tensor, head: int, count: int) -> Tensor:
    return x.chunk(count)[head]


def score(scores: MultiHeadScores, head: int, h: Tensor, s: Tensor) -> Tensor:
    count = scores.heads
    if isinstance(scores, AdditiveHeads):
        hidden = scores.query.weight @ h + scores.source.weight @ s + scores.source.bias
        return scores.vector[head] @ part(torch.tanh(hidden), head, count)
    assert isinstance(scores, BilinearHeads)
    q = h if scores.query is None else scores.query.weight @ h
    return part(q, head, count) @ part(scores.key.weight @ s, head, count)


def written_out(
    recipe: Attention, scores: MultiHeadScores, memory: Memory, h: Tensor, b: int
) -> tuple[Tensor, Tensor]:
    """The context [D] of a query of sentence b, and the mean of the heads' weights [S]."""
    length = int(MASK[b].sum())
    scale = 1 / math.sqrt(QUERY / scores.heads) if recipe.kind == "scaled_dot" else 1.0
    contexts, weights = [], []
    for head in range(scores.heads):
        states = memory.states_BSD[b, :length]
        a = torch.stack([score(scores, head, h, s) for s in states]) * scale
        alpha = torch.softmax(a, 0)
        values = [part(scores.value.weight @ s, head, scores.heads) for s in states]
        contexts.append(sum(w * v for w, v in zip(alpha, values, strict=True)))
        weights.append(torch.cat((alpha, alpha.new_zeros(4 - length))))
    return scores.output.weight @ torch.cat(contexts), torch.stack(weights).mean(0)


@every_kind
def test_heads_are_their_equations_with_all_gradients(recipe: Attention) -> None:
    scores, memory = heads(recipe)
    query = torch.randn(2, 3, QUERY).double().requires_grad_()
    found = attend(scores, memory, query)
    rows = [[written_out(recipe, scores, memory, query[b, q], b) for q in range(3)] for b in (0, 1)]
    context, weights = (
        torch.stack([torch.stack([row[i] for row in sentence]) for sentence in rows])
        for i in (0, 1)
    )
    # Scores and weights of attention are float32 for any type of the model.
    torch.testing.assert_close(found.context, context, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.weights, weights.float(), atol=1e-6, rtol=1e-5)
    inputs = [query, memory.states_BSD, *scores.parameters()]
    expected = torch.autograd.grad(context.square().sum(), inputs)
    actual = torch.autograd.grad(found.context.square().sum(), inputs)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@every_kind
def test_rows_and_times_are_queries(recipe: Attention) -> None:
    scores, memory = heads(recipe)
    scores.float()
    states = memory.states_BSD.detach().float() * MASK.unsqueeze(-1)
    memory = replace(
        memory, states_BSD=states, keys=scores.keys(states), values=scores.values(states)
    )
    query = torch.randn(2, 3, QUERY)
    expected = attend(scores, memory, query)
    by_row = attend_rows(scores, memory, query.reshape(6, QUERY))
    by_time = attend_times(scores, memory, query.transpose(0, 1), torch.zeros(1))
    torch.testing.assert_close(by_row.context.view(2, 3, STATES), expected.context)
    torch.testing.assert_close(by_time.context.transpose(0, 1), expected.context)
    assert by_row.scores is not None and by_row.weights is not None
    torch.testing.assert_close(by_row.weights.view(2, 3, 4), expected.weights)
    torch.testing.assert_close(by_time.weights, expected.weights)
    assert torch.equal(by_row.weights.view(2, 3, 4)[1, :, 2:], torch.zeros(3, 2))
    pooled = pooled_scores(by_row.scores.view(2, 3, -1, 4), ~MASK.unsqueeze(1))
    torch.testing.assert_close(torch.softmax(pooled, -1), expected.weights)


def test_pooled_scores_have_finite_gradients_at_padding() -> None:
    scores = torch.randn(2, 3, 4, requires_grad=True)
    pooled_scores(scores, ~MASK).masked_fill(~MASK, 0.0).sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert not scores.grad[1, :, 2:].any()


def test_one_head_is_attention_without_heads() -> None:
    for recipe in (*ALL, NoAttention(kind="none")):
        one = recipe if recipe.kind == "none" else replace(recipe, heads=1)
        assert build_heads(one, STATES, QUERY) is None


@with_heads
def test_coverage_sums_the_mean_of_the_heads(recipe: Model) -> None:
    model, (source, target) = build(replace(recipe, coverage=True)), pairs()
    memory = model.encode(source, LENGTHS)
    state, seen = model.start(memory), torch.zeros(3, 9)
    for tokens in target.t():
        step = model.step(memory, state, tokens)
        assert step.attention is not None and step.state.coverage is not None
        torch.testing.assert_close(step.attention.sum(-1), torch.ones(3))
        seen = seen + step.attention * memory.words_BS
        torch.testing.assert_close(step.state.coverage, seen)
        state = step.state
    whole = model(source, LENGTHS, target)
    torch.testing.assert_close(step.logits, whole[:, -1], atol=1e-5, rtol=1e-5)


@with_heads
def test_copies_are_by_the_mean_of_the_heads(recipe: Model) -> None:
    torch.manual_seed(3)
    model = Seq2Seq(replace(recipe, copy="pointer"), 13, 13, None, torch.arange(13)).eval()
    source, target = pairs()
    memory = model.encode(source, LENGTHS)
    whole = model(source, LENGTHS, target)
    state = model.start(memory)
    for t in range(target.shape[1]):
        step = model.step(memory, state, target[:, t])
        decoded, state = model.step_readout(memory, state, target[:, t])
        torch.testing.assert_close(step.logits, whole[:, t], atol=1e-5, rtol=1e-5)
        assert decoded.gate is not None and decoded.weights is not None
        generated = torch.softmax(model.output(decoded.readout), -1)
        gate = torch.sigmoid(decoded.gate).unsqueeze(-1)
        words = decoded.weights * memory.words_BS
        # A source of its end alone has no words, so that nothing is copied.
        total = words.sum(-1, keepdim=True)
        gate = torch.where(total > 0, gate, 1.0)
        copied = torch.zeros(3, 13).scatter_add(1, source, words / total.clamp_min(1e-9))
        expected = gate * generated + (1 - gate) * copied
        found = torch.softmax(step.logits, -1)[:, :13]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_int8_products_that_read_contexts_have_no_bound() -> None:
    sizes = {"encoder": Encoder(width=5), "decoder": StackedDecoder(kind="stacked", width=12)}
    recipe = replace(RECIPES[0], attention=GeneralAttention(kind="general", heads=2), **sizes)
    model = build(recipe)
    bound_E, bound_D = torch.full((6,), 2.0), torch.full((10,), 3.0)
    first, second = model.decoder.layer_bounds(bound_E, bound_D)
    assert first.isfinite().all()
    assert second[:12].isfinite().all() and second[12:].isinf().all()
    readout = model.decoder.readout_bound(bound_E, bound_D)
    assert readout[12:22].isinf().all() and readout[22:].isfinite().all()
    scores = inference_model(model, "int8").quantized.decoder.scores
    kinds = {key: type(child).__name__ for key, child in scores.named_children()}
    assert kinds == dict.fromkeys(("value", "output", "key"), "QuantizedLinear")


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (DotAttention(kind="dot", heads=5), "decoder.width, 12, found 5"),
        (AdditiveAttention(kind="additive", width=9, heads=4), "attention.width, 9, found 4"),
    ],
)
def test_heads_divide_the_widths(attention: Attention, message: str) -> None:
    with pytest.raises(ValueError, match=r"^attention\.heads: .* divides ") as raised:
        replace(RECIPES[0], attention=attention)
    assert message in str(raised.value)
