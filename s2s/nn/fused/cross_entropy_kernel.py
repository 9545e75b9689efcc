"""The softmax, its cross-entropy and their gradient, a row at a time, in Triton.

A row of logits is read twice and written once, where operations of PyTorch move ten arrays of its
size through memory. The normalizer comes from one pass (the online softmax of Milakov & Gimelshein
2018, section 3), the gradient from the second, in place of the logits.

Dimension letters: C tokens, V vocabulary, W columns of the logits (V and padding), K tokens that
soft targets have.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096
"""Columns that are worked on at a time, at most."""


class Shares(NamedTuple):
    """The shares of three distributions in the target distribution; they sum to 1."""

    target: float
    """Of the target alone."""
    uniform: float
    """Of the uniform distribution over the vocabulary."""
    soft: float
    """Of soft targets."""


@triton.jit
def _logits(logits, bias, column, is_there):
    """In fp32, the bias added; 0 where none is."""
    x = tl.load(logits + column, mask=is_there, other=0.0).to(tl.float32)
    return x + tl.load(bias + column, mask=is_there, other=0.0)


@triton.jit
def cross_entropy_rows(
    logits,
    bias,
    targets,
    ids,
    probabilities,
    losses,
    target_share,
    uniform_share,
    soft_share,
    VOCABULARY: tl.constexpr,
    WIDTH: tl.constexpr,
    NUM_SOFT: tl.constexpr,
    SOFT_BLOCK: tl.constexpr,
    WRITES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program for each row. Bounds of loops are constants: the interpreter needs them so."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * WIDTH
    target = tl.load(targets + row)
    said = tl.load(logits + target).to(tl.float32) + tl.load(bias + target)
    expected = 0.0
    if NUM_SOFT > 0:
        ids += row * NUM_SOFT
        probabilities += row * NUM_SOFT
        place = tl.arange(0, SOFT_BLOCK)
        is_soft = place < NUM_SOFT
        said_K = _logits(logits, bias, tl.load(ids + place, mask=is_soft, other=0), is_soft)
        expected = tl.sum(said_K * tl.load(probabilities + place, mask=is_soft, other=0.0), 0)
    top, total, sum_of_logits = float("-inf"), 0.0, 0.0
    for start in range(0, VOCABULARY, BLOCK):
        column = start + tl.arange(0, BLOCK)
        is_word = column < VOCABULARY
        x = _logits(logits, bias, column, is_word)
        sum_of_logits += tl.sum(x, 0)
        x = tl.where(is_word, x, float("-inf"))
        new_top = tl.maximum(top, tl.max(x, 0))
        total = total * tl.exp(top - new_top) + tl.sum(tl.exp(x - new_top), 0)
        top = new_top
    normalizer = tl.log(total) + top
    nll = normalizer - said
    loss = target_share * nll + soft_share * (normalizer - expected)
    loss += uniform_share * (normalizer - sum_of_logits / VOCABULARY)
    tl.store(losses + 2 * row, loss)
    tl.store(losses + 2 * row + 1, nll)
    if WRITES:
        tl.debug_barrier()  # all threads have read the logits that they wanted
        for start in range(0, WIDTH, BLOCK):
            column = start + tl.arange(0, BLOCK)
            is_word = column < VOCABULARY
            x = _logits(logits, bias, column, is_word)
            gradient = tl.exp(x - normalizer) - uniform_share / VOCABULARY
            gradient -= tl.where(column == target, target_share, 0.0)
            if NUM_SOFT > 0:
                for k in range(NUM_SOFT):  # a token that is there twice loses both
                    lost = soft_share * tl.load(probabilities + k)
                    gradient -= tl.where(column == tl.load(ids + k), lost, 0.0)
            gradient = tl.where(is_word, gradient, 0.0)
            tl.store(logits + column, gradient.to(logits.dtype.element_ty), mask=column < WIDTH)


def cross_entropy(
    logits_CW: Tensor,
    bias_V: Tensor,
    targets_C: Tensor,
    shares: Shares,
    soft: tuple[Tensor, Tensor] | None = None,
    *,
    writes_gradient: bool,
) -> Tensor:
    """float32 [2, C]: for each row the cross-entropy with the target distribution, and the nll.

    With `writes_gradient` the logits, of which the first V columns count, become the gradient of
    the first in place; those of padding become 0. Logits (without bias) are fp32 or bf16, the bias
    is float32, targets are int64; `soft` are ids int64 and probabilities float32 [C, K], where an
    id may come more than once. All are contiguous.
    """
    rows, width = logits_CW.shape
    losses_C2 = torch.empty(rows, 2, dtype=torch.float32, device=logits_CW.device)
    ids_CK, probabilities_CK = (targets_C, bias_V) if soft is None else soft
    num_soft = 0 if soft is None else ids_CK.shape[1]
    block = min(BLOCK, triton.next_power_of_2(width))
    if rows:
        cross_entropy_rows[(rows,)](
            *(logits_CW, bias_V, targets_C, ids_CK, probabilities_CK, losses_C2),
            *shares,
            VOCABULARY=len(bias_V),
            WIDTH=width,
            NUM_SOFT=num_soft,
            SOFT_BLOCK=triton.next_power_of_2(max(1, num_soft)),
            WRITES=writes_gradient,
            BLOCK=block,
            num_warps=8 if block >= 2048 else 4,
        )
    return losses_C2.t()
