"""A step of attention and its gradient, in Triton: scores, masked softmax and context.

A program has a sentence: all its scores lie in registers, and sums are in fp32. The hidden layer of
the additive score is computed again for the gradient.

Pointers are those of the program's sentence; `stride` is the distance of two positions.

Dimension letters: B sentences, S source time, H width of queries and keys, D width of values.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2s.nn.fused.lstm_cell_kernel import tanh

TILE = 4096
"""Numbers of a tile, positions times channels, unless the source is long."""

LEAST = 16
"""Channels of a tile, at least."""


@triton.jit
def tile_of(vectors, stride, position, is_there, channel, WIDTH: tl.constexpr):
    """[S, channels] in fp32; 0 outside."""
    place = position.to(tl.int64)[:, None] * stride + channel[None, :]
    is_inside = is_there[:, None] & (channel < WIDTH)[None, :]
    return tl.load(vectors + place, mask=is_inside, other=0.0).to(tl.float32)


@triton.jit
def row_of(vector, channel, WIDTH: tl.constexpr):
    """[channels] in fp32; 0 outside."""
    return tl.load(vector + channel, mask=channel < WIDTH, other=0.0).to(tl.float32)


@triton.jit
def _products(
    vectors,
    stride,
    vector,
    position,
    is_there,
    WIDTH: tl.constexpr,
    TIME: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """[S]: the product of each vector with one."""
    sums = tl.zeros([TIME, BLOCK], tl.float32)
    for start in range(0, WIDTH, BLOCK):
        channel = start + tl.arange(0, BLOCK)
        tile = tile_of(vectors, stride, position, is_there, channel, WIDTH)
        sums += tile * row_of(vector, channel, WIDTH)[None, :]
    return tl.sum(sums, 1)


@triton.jit
def _store_sums(
    vectors, stride, factor, out, position, is_there, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """Stores the sum of the vectors, each times a factor [S]."""
    for start in range(0, WIDTH, BLOCK):
        channel = start + tl.arange(0, BLOCK)
        tile = tile_of(vectors, stride, position, is_there, channel, WIDTH)
        sums = tl.sum(tile * factor[:, None], 0)
        tl.store(out + channel, sums.to(out.dtype.element_ty), mask=channel < WIDTH)


@triton.jit
def _additive_scores(
    keys,
    stride,
    query,
    vector,
    position,
    is_there,
    WIDTH: tl.constexpr,
    TIME: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """[S]: v . tanh(q + k)."""
    sums = tl.zeros([TIME, BLOCK], tl.float32)
    for start in range(0, WIDTH, BLOCK):
        channel = start + tl.arange(0, BLOCK)
        tile = tile_of(keys, stride, position, is_there, channel, WIDTH)
        hidden = tanh(tile + row_of(query, channel, WIDTH)[None, :])
        sums += hidden * row_of(vector, channel, WIDTH)[None, :]
    return tl.sum(sums, 1)


@triton.jit(do_not_specialize=["time"])
def attention_forward(
    query,
    keys,
    values,
    vector,
    mask,
    scores,
    weights,
    context,
    keys_of_sentence,
    keys_stride,
    values_of_sentence,
    values_stride,
    scale,
    time,
    IS_ADDITIVE: tl.constexpr,
    WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    TIME: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program for each sentence; TIME is a power of two, at least `time`."""
    sentence = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, TIME)
    is_there = position < time
    query += sentence * WIDTH
    keys += sentence * keys_of_sentence
    if IS_ADDITIVE:
        score = _additive_scores(
            keys, keys_stride, query, vector, position, is_there, WIDTH, TIME, BLOCK
        )
    else:
        score = scale * _products(keys, keys_stride, query, position, is_there, WIDTH, TIME, BLOCK)
    place = sentence * time + position
    tl.store(scores + place, score, mask=is_there)
    is_inside = is_there & (tl.load(mask + place, mask=is_there, other=0) != 0)
    score = tl.where(is_inside, score, float("-inf"))
    weight = tl.exp(score - tl.max(score, 0))
    weight = weight / tl.sum(weight, 0)
    tl.store(weights + place, weight, mask=is_there)
    values += sentence * values_of_sentence
    context += sentence * VALUE_WIDTH
    _store_sums(values, values_stride, weight, context, position, is_there, VALUE_WIDTH, BLOCK)


@triton.jit
def score_gradient(
    values,
    stride,
    weights,
    of_context,
    of_weights,
    of_scores,
    position,
    is_there,
    VALUE_WIDTH: tl.constexpr,
    TIME: tl.constexpr,
    BLOCK: tl.constexpr,
    HAS_WEIGHTS: tl.constexpr,
    HAS_SCORES: tl.constexpr,
):
    """[S]: the gradient of the scores; 0 outside."""
    weight = tl.load(weights + position, mask=is_there, other=0.0)
    of_weight = _products(values, stride, of_context, position, is_there, VALUE_WIDTH, TIME, BLOCK)
    if HAS_WEIGHTS:
        of_weight += tl.load(of_weights + position, mask=is_there, other=0.0)
    of_score = weight * (of_weight - tl.sum(weight * of_weight, 0))
    if HAS_SCORES:
        of_score += tl.load(of_scores + position, mask=is_there, other=0.0)
    return of_score


@triton.jit(do_not_specialize=["time"])
def bilinear_backward(
    keys,
    values,
    weights,
    of_context,
    of_weights,
    of_scores,
    of_query,
    of_products,
    keys_of_sentence,
    keys_stride,
    values_of_sentence,
    values_stride,
    scale,
    time,
    WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    TIME: tl.constexpr,
    BLOCK: tl.constexpr,
    HAS_WEIGHTS: tl.constexpr,
    HAS_SCORES: tl.constexpr,
):
    """The gradients of a query and of its products with keys, a program for each sentence."""
    sentence = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, TIME)
    is_there = position < time
    row = sentence * time
    of_score = scale * score_gradient(
        values + sentence * values_of_sentence,
        values_stride,
        weights + row,
        of_context + sentence * VALUE_WIDTH,
        of_weights + row,
        of_scores + row,
        position,
        is_there,
        VALUE_WIDTH,
        TIME,
        BLOCK,
        HAS_WEIGHTS,
        HAS_SCORES,
    )
    kind = of_products.dtype.element_ty
    tl.store(of_products + row + position, of_score.to(kind), mask=is_there)
    keys += sentence * keys_of_sentence
    of_query += sentence * WIDTH
    _store_sums(keys, keys_stride, of_score, of_query, position, is_there, WIDTH, BLOCK)


def sizes_of(keys_BSH: Tensor, values_BSD: Tensor) -> dict[str, int]:
    """The constants of all kernels of attention, and the warps."""
    time = max(16, triton.next_power_of_2(keys_BSH.shape[1]))
    width, value_width = keys_BSH.shape[2], values_BSD.shape[2]
    most = triton.next_power_of_2(max(width, value_width))
    block = max(LEAST, min(TILE // time, most))
    warps = 8 if time * block > TILE else 4
    constants = {"WIDTH": width, "VALUE_WIDTH": value_width, "TIME": time, "BLOCK": block}
    return {**constants, "num_warps": warps}


def _strides(keys_BSH: Tensor, values_BSD: Tensor) -> tuple[int, int, int, int]:
    """Distances of sentences and positions."""
    return keys_BSH.stride(0), keys_BSH.stride(1), values_BSD.stride(0), values_BSD.stride(1)


def forward(
    query_BH: Tensor,
    keys_BSH: Tensor,
    values_BSD: Tensor,
    mask_BS: Tensor,
    how: float | Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Contexts [B, D] in the type of the values, weights and scores float32 [B, S].

    `how` is the factor of a product of query and key, or the vector float32 [H] of the additive
    score. Query, keys and values are in one type, fp32 or bf16; the channels of keys and values,
    and all else, are contiguous. The mask is int8, 0 at padding.
    """
    sentences, time, _ = keys_BSH.shape
    is_additive = isinstance(how, Tensor)
    context_BD = values_BSD.new_empty(sentences, values_BSD.shape[2])
    weights_BS, scores_BS = (
        torch.empty(sentences, time, dtype=torch.float32, device=query_BH.device) for _ in range(2)
    )
    if sentences:
        attention_forward[(sentences,)](
            *(query_BH, keys_BSH, values_BSD, how if is_additive else query_BH, mask_BS),
            *(scores_BS, weights_BS, context_BD),
            *_strides(keys_BSH, values_BSD),
            *(1.0 if is_additive else how, time),
            IS_ADDITIVE=is_additive,
            **sizes_of(keys_BSH, values_BSD),
        )
    return context_BD, weights_BS, scores_BS


Gradients = tuple[Tensor, Tensor | None, Tensor | None]
"""Of contexts, weights and scores, contiguous."""


def backward_bilinear(
    keys_BSH: Tensor, values_BSD: Tensor, weights_BS: Tensor, gradients: Gradients, scale: float
) -> tuple[Tensor, Tensor]:
    """The gradients of `forward`'s query [B, H] and of its products with keys [B, S]."""
    sentences, time, width = keys_BSH.shape
    of_query_BH = keys_BSH.new_empty(sentences, width)
    of_products_BS = keys_BSH.new_empty(sentences, time)
    if sentences:
        bilinear_backward[(sentences,)](
            *(keys_BSH, values_BSD, weights_BS, *pointers_of(gradients)),
            *(of_query_BH, of_products_BS, *_strides(keys_BSH, values_BSD), scale, time),
            **sizes_of(keys_BSH, values_BSD),
            **flags_of(gradients),
        )
    return of_query_BH, of_products_BS


def pointers_of(gradients: Gradients) -> tuple[Tensor, Tensor, Tensor]:
    """Something in the place of those that are not there; no kernel reads it."""
    of_context, of_weights, of_scores = gradients
    return of_context, _or(of_weights, of_context), _or(of_scores, of_context)


def _or(gradient: Tensor | None, other: Tensor) -> Tensor:
    return other if gradient is None else gradient


def flags_of(gradients: Gradients) -> dict[str, bool]:
    """The constants that say which of them are there."""
    return {"HAS_WEIGHTS": gradients[1] is not None, "HAS_SCORES": gradients[2] is not None}
