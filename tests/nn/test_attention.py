"""Attention against its equations."""

import math

import pytest
import torch

from s2s.nn.attention import attend, attend_rows, attend_times
from s2s.nn.attention_scores import AdditiveScores, BilinearScores, build_scores
from s2s.nn.memory import Memory
from s2s.recipe.model import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    NoAttention,
)

LENGTHS = torch.tensor([6, 2])
MASK = torch.arange(6) < LENGTHS.unsqueeze(1)
ALL = [
    DotAttention(kind="dot"),
    DotAttention(kind="scaled_dot"),
    GeneralAttention(kind="general"),
    AdditiveAttention(kind="additive", width=7),
    AdditiveAttention(kind="additive"),
]


def memory(recipe: Attention, states_width: int = 4, query_width: int = 5):
    torch.manual_seed(0)
    scores = build_scores(recipe, states_width, query_width)
    states = torch.randn(2, 6, states_width) * MASK.unsqueeze(-1)
    keys = states if scores is None else scores.keys(states)
    return scores, Memory(states, keys, MASK, torch.randn(2, states_width))


@pytest.mark.parametrize("recipe", ALL)
def test_weights_are_a_distribution_over_words(recipe: Attention) -> None:
    scores, source = memory(recipe)
    context, weights, _, _ = attend(scores, source, torch.randn(2, 3, 5))
    assert weights is not None
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))
    assert torch.equal(weights[1, :, 2:], torch.zeros(3, 4))
    expected = torch.einsum("bqs,bsd->bqd", weights, source.states_BSD)
    torch.testing.assert_close(context, expected)


def test_dot_is_the_dot_product() -> None:
    scores, source = memory(DotAttention(kind="dot"), states_width=5)
    h = torch.randn(2, 3, 5)
    assert isinstance(scores, BilinearScores)
    assert not list(scores.parameters())
    expected = torch.einsum("bqh,bsh->bqs", h, source.states_BSD)
    torch.testing.assert_close(scores(h, source.keys), expected)
    scaled = build_scores(DotAttention(kind="scaled_dot"), 5, 5)
    assert scaled is not None
    torch.testing.assert_close(scaled(h, source.keys), expected / math.sqrt(5))


def test_general_is_bilinear() -> None:
    scores, source = memory(GeneralAttention(kind="general"))
    h = torch.randn(2, 3, 5)
    assert isinstance(scores, BilinearScores)
    assert scores.projection is not None
    w = scores.projection.weight  # [query width, states width]
    expected = torch.einsum("bqh,hd,bsd->bqs", h, w, source.states_BSD)
    torch.testing.assert_close(scores(h, source.keys), expected)


def test_additive_is_bahdanaus_equation() -> None:
    scores, source = memory(AdditiveAttention(kind="additive", width=7))
    h = torch.randn(2, 3, 5)
    assert isinstance(scores, AdditiveScores)
    w, u, v = scores.query.weight, scores.source.weight, scores.vector.weight[0]
    for b in range(2):
        for q in range(3):
            for s in range(6):
                inner = w @ h[b, q] + u @ source.states_BSD[b, s] + scores.source.bias
                expected = v @ torch.tanh(inner)
                torch.testing.assert_close(scores(h, source.keys)[b, q, s], expected)


def test_without_attention_the_context_is_the_last_state() -> None:
    scores, source = memory(NoAttention(kind="none"))
    assert scores is None
    context, weights, _, _ = attend(None, source, torch.randn(2, 3, 5))
    assert weights is None
    assert torch.equal(context, source.final_BD.unsqueeze(1).expand(2, 3, 4))


@pytest.mark.parametrize("recipe", ALL)
def test_rows_and_times_are_queries(recipe: Attention) -> None:
    scores, source = memory(recipe)
    query = torch.randn(2, 3, 5)
    context, weights, _, _ = attend(scores, source, query)
    by_row, row_weights, _, _ = attend_rows(scores, source, query.reshape(6, 5))
    torch.testing.assert_close(by_row.view(2, 3, 4), context)
    assert weights is not None and row_weights is not None
    torch.testing.assert_close(row_weights.view(2, 3, 6), weights)
    by_time, time_weights, _, _ = attend_times(scores, source, query.transpose(0, 1))
    torch.testing.assert_close(by_time.transpose(0, 1), context)
    torch.testing.assert_close(time_weights, weights)
