"""The gradient of a step of additive attention, in Triton; see `attention_kernel`.

Dimension letters: B sentences, S source time, H width of queries and keys, D width of values.
"""

import triton
import triton.language as tl
from torch import Tensor

from s2s.nn.fused.attention_kernel import (
    Gradients,
    flags_of,
    pointers_of,
    row_of,
    score_gradient,
    sizes_of,
    tile_of,
)
from s2s.nn.fused.lstm_cell_kernel import tanh


@triton.jit
def _store_additive(
    keys,
    query,
    vector,
    of_score,
    of_query,
    of_keys,
    of_vector,
    position,
    is_there,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Stores the gradient of the query, and adds those of keys and vector to what is there."""
    for start in range(0, WIDTH, BLOCK):
        channel = start + tl.arange(0, BLOCK)
        is_channel = channel < WIDTH
        tile = tile_of(keys, WIDTH, position, is_there, channel, WIDTH)
        hidden = tanh(tile + row_of(query, channel, WIDTH)[None, :])
        so_far = tl.load(of_vector + channel, mask=is_channel, other=0.0)
        so_far += tl.sum(of_score[:, None] * hidden, 0)
        tl.store(of_vector + channel, so_far, mask=is_channel)
        of_sum = of_score[:, None] * row_of(vector, channel, WIDTH)[None, :]
        of_sum *= 1.0 - hidden * hidden
        summed = tl.sum(of_sum, 0)
        tl.store(of_query + channel, summed.to(of_query.dtype.element_ty), mask=is_channel)
        place = position.to(tl.int64)[:, None] * WIDTH + channel[None, :]
        is_inside = is_there[:, None] & is_channel[None, :]
        of_sum += tl.load(of_keys + place, mask=is_inside, other=0.0)
        tl.store(of_keys + place, of_sum, mask=is_inside)


@triton.jit(do_not_specialize=["time"])
def additive_backward(
    query,
    keys,
    values,
    vector,
    weights,
    of_context,
    of_weights,
    of_scores,
    of_query,
    of_keys,
    of_vector,
    values_of_sentence,
    values_stride,
    time,
    WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    TIME: tl.constexpr,
    BLOCK: tl.constexpr,
    HAS_WEIGHTS: tl.constexpr,
    HAS_SCORES: tl.constexpr,
):
    """The gradient of a query; those of keys [B, S, H] and vector [B, H] are added to."""
    sentence = tl.program_id(0).to(tl.int64)
    position = tl.arange(0, TIME)
    is_there = position < time
    row = sentence * time
    values += sentence * values_of_sentence
    of_context += sentence * VALUE_WIDTH
    of_score = score_gradient(
        values,
        values_stride,
        weights + row,
        of_context,
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
    at_keys, at_query = row * WIDTH, sentence * WIDTH
    keys, of_keys = keys + at_keys, of_keys + at_keys
    query, of_query, of_vector = query + at_query, of_query + at_query, of_vector + at_query
    _store_additive(
        keys,
        query,
        vector,
        of_score,
        of_query,
        of_keys,
        of_vector,
        position,
        is_there,
        WIDTH,
        BLOCK,
    )


def backward_additive(
    given: tuple[Tensor, Tensor, Tensor, Tensor],
    weights_BS: Tensor,
    gradients: Gradients,
    sums: tuple[Tensor, Tensor],
) -> Tensor:
    """The gradient of `forward`'s query [B, H]; those of keys, float32 [B, S, H], and vector, of
    each sentence float32 [B, H], are added to `sums`. `given` are query, keys, values, vector; keys
    are contiguous."""
    _, keys_BSH, values_BSD, _ = given
    sentences, time, width = keys_BSH.shape
    of_query_BH = keys_BSH.new_empty(sentences, width)
    if sentences:
        additive_backward[(sentences,)](
            *(*given, weights_BS, *pointers_of(gradients), of_query_BH, *sums),
            *(values_BSD.stride(0), values_BSD.stride(1), time),
            **sizes_of(keys_BSH, values_BSD),
            **flags_of(gradients),
        )
    return of_query_BH
