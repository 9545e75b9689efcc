"""Weighted sums of vectors, each rounded independently of the others.

y_n = sum_j w_nj x_bj, for the Q rows n of each sentence b. A batched matrix product computes the
same. But a library may split it by the number of rows or by their alignment in memory, so that the
rounding of a row depends on its place, as MKL's does on CPUs of AMD. `torch.embedding_bag` adds the
vectors of a row one after the other, by a fused multiply-add for each element in a fixed order, at
nearly the same speed.

Dimension letters: B sentences, Q rows of a sentence, N = B*Q rows, J vectors of a sentence,
D width.
"""

from functools import lru_cache

import torch
from torch import Tensor

SUM = 0
"""Mode of `torch.embedding_bag`."""


def weighted_sum(weights_NJ: Tensor, vectors_BJD: Tensor) -> Tensor:
    """y [N, D] of weights [N, J] and vectors [B, J, D]; rows of a sentence are adjacent.

    On a CPU in float32 a row of y depends on that row of weights and its sentence's vectors alone,
    bit for bit. Elsewhere it is a batched matrix product.
    """
    sentences, count, width = vectors_BJD.shape
    is_float = weights_NJ.dtype == vectors_BJD.dtype == torch.float32
    if vectors_BJD.device.type != "cpu" or not is_float:
        weights_BQJ = weights_NJ.view(sentences, -1, count)
        return torch.bmm(weights_BQJ, vectors_BJD).flatten(0, 1)
    rows = len(weights_NJ)
    places, starts = _bags(sentences, rows // sentences, count)
    # For other layouts PyTorch has another kernel, which rounds products before it adds them.
    table = vectors_BJD.contiguous().view(sentences * count, width)
    weights = weights_NJ.contiguous().view(rows * count)
    sums_ND: Tensor = torch.embedding_bag(table, places, starts, False, SUM, False, weights)[0]
    return sums_ND


@lru_cache(maxsize=32)
def _bags(sentences: int, rows: int, count: int) -> tuple[Tensor, Tensor]:
    """Places int32 [B*Q*J] of every row's vectors in a table [B*J], and where each row starts."""
    # Autograd cannot save a tensor that was made in inference mode.
    with torch.inference_mode(False):
        table_BJ = torch.arange(sentences * count, dtype=torch.int32).view(sentences, count)
        places = table_BJ.repeat_interleave(rows, dim=0).flatten()
        return places, torch.arange(0, len(places), max(1, count), dtype=torch.int32)
