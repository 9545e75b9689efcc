"""Bucketing: the fixed shapes in which search computes.

Matrix kernels round differently for different shapes. The result for a sentence is to be a function
of the sentence alone, so every shape is one too: its padded source length, the rows of its decoding
batch, the number of sentences it is encoded with. Within a fixed
shape a row's arithmetic does not depend on the other rows (`s2s.nn.matmul`, `s2s.nn.weighted_sum`).

Dimension letters: B sentences of a decoding batch (its slots), K hypotheses per sentence, N = B*K
rows, S source time, H steps of history, E sentences encoded together.
"""

import math
from dataclasses import dataclass

from s2s.recipe.search import Search

ROWS = {"cpu": 128, "cuda": 512}
"""Most rows of a decoding batch. 128 keep a CPU busy; a GPU needs more."""

SLOTS = {"cpu": 64, "cuda": 512}
"""Most sentences of a decoding batch. More of them leave more idle when the queue is empty."""

ENCODED = {"cpu": 16, "cuda": 128}
"""Sentences encoded together. On a CPU 16 cost a quarter of 64; dummies cost as much as words."""

CELLS = {"cpu": 1 << 15, "cuda": 1 << 19}
"""Most source positions (rows x source time) of a decoding batch: long sources get fewer rows,
which bounds memory."""

STEP = 16
"""Source lengths are rounded up to a multiple of this, long ones to coarser steps."""


@dataclass(frozen=True)
class Shape:
    """Sizes of one bucket: all sources of one padded length."""

    time: int
    """S, the padded source length, EOS included; 0 without text."""
    slots: int
    """B."""
    width: int
    """K."""
    encoded: int
    """E."""
    history: int
    """H: the longest output of the longest source of the bucket."""


def bucket(length: int) -> int:
    """Padded length S of a source of `length` tokens, EOS included.

    Steps of 16 up to 128, of 32 up to 256, and so on: padding stays below an eighth for long
    sources, and a doubling of the length costs four shapes.
    """
    step = STEP
    while length > 8 * step:
        step *= 2
    return -(-length // step) * step


def longest_output(length: int, search: Search) -> int:
    """Most predictions (EOS is one) for a source of `length` tokens without EOS; at least 1.

    Image features have no length: their outputs may have `max_offset` tokens.
    """
    # The subtraction keeps 1.1 * 10 = 11.000000000000002 at 11.
    return max(1, math.ceil(search.max_ratio * length - 1e-9) + search.max_offset)


def _even(slots: int) -> int:
    """`count` or slightly fewer slots, so that up to 4 threads share the rows evenly."""
    return slots // 4 * 4 if slots >= 4 else max(1, slots)


def shape_of(time: int, width: int, search: Search, device: str, *, regions: int = 0) -> Shape:
    """Sizes of the bucket of padded length `time` for `width` hypotheses a sentence.

    `regions` are the regions of image features, after the text.
    """
    kind = "cpu" if device.startswith("cpu") else "cuda"
    sentences = CELLS[kind] // (time + regions)
    return Shape(
        time=time,
        slots=_even(min(ROWS[kind] // width, SLOTS[kind], sentences // width)),
        width=width,
        encoded=max(1, min(ENCODED[kind], sentences)),
        history=longest_output(max(time - 1, 0), search),
    )
