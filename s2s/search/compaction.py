"""Compaction: a decoding batch whose queue is empty goes on without its idle slots, and the last
sentences are encoded without dummies.

Kernels may round differently for different numbers of rows. So before a batch first becomes
smaller, one step is computed with both sizes: only where all results are the same, bit for bit, do
sentences go on in the smaller one. So it is with encoding. What a kernel sums in which order
depends on shapes, not on numbers, so one step of all rows shows it, and the answer is kept for the
model.

Dimension letters: B sentences (slots), K hypotheses per sentence, N = B*K rows.
"""

from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from s2s.nn.inference_model import InferenceModel

LEAST_ROWS = 4
"""Fewest rows of a batch. Kernels treat a single row as a vector, and sum in another order."""

_known: WeakKeyDictionary[Any, dict[Hashable, bool]] = WeakKeyDictionary()


def smaller_size(slots: int, width: int, occupied: int) -> int:
    """The number of slots for `occupied` sentences of `width` hypotheses: `slots`, or the least of
    its halves, quarters, ... (rounded up) that has room for them."""
    size, half = slots, -(-slots // 2)
    while half < size and half >= max(occupied, 1) and half * width >= LEAST_ROWS:
        size, half = half, -(-half // 2)
    return size


def is_known(scorer: object, sizes: Hashable) -> bool | None:
    """Whether a batch of a scorer may become smaller by `sizes`; None where it is not tested."""
    owner, precision = _owner(scorer)
    return _known.get(owner, {}).get((precision, sizes))


def remember(scorer: object, sizes: Hashable, is_equal: bool) -> None:
    """Keep the result of a test."""
    owner, precision = _owner(scorer)
    _known.setdefault(owner, {})[precision, sizes] = is_equal


def _owner(scorer: object) -> tuple[object, str | None]:
    """What a test holds for, and the precision of products. Training on a metric and validation
    pack the same model again and again: its weights change, its shapes do not."""
    if isinstance(scorer, InferenceModel):
        return scorer.model, scorer.precision
    return scorer, None


def are_equal(whole: tuple[Any, ...], rows_M: Tensor, part: tuple[Any, ...]) -> bool:
    """Whether bundles of rows (a step, a memory) have the same bits: `part` has those of `rows` [M]
    of `whole`."""
    found = zip(_tensors(whole), _tensors(part), strict=True)
    return all(torch.equal(one.index_select(0, rows_M), other) for one, other in found)


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in a bundle of rows, whose first dimension runs over rows."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)
    elif is_dataclass(value):
        for item in fields(value):
            yield from _tensors(getattr(value, item.name))
