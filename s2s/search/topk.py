"""Top-k with a rule for ties.

`torch.topk` does not define which of equal values it returns; here the lower index always wins.

Dimension letters: B sentences, K hypotheses per sentence, V vocabulary, C chunks, W chunk width,
J candidates, R results.
"""

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 64
"""Tokens per chunk W: near sqrt(V) for the usual vocabularies, which balances the two passes."""

ROUNDS = 8
"""Up to this many results, one pass per maximum is faster than a stable sort."""


CACHED = 1 << 18
"""Logits that fit the caches of a CPU's cores (1 MiB)."""


class Digest(NamedTuple):
    """Results of one pass over all logits of a step."""

    normalizer: Tensor
    """float32 [...], log sum exp, or the normalizer that was given."""
    maxima: Tensor
    """float32 [..., C], the largest of every chunk; the last chunk may be short."""


def digest(logits: Tensor, normalizer: Tensor | None = None) -> Digest:
    """The digest of float32 [..., V], with a normalizer [N] that is known already, or its own.

    On a CPU some rows at a time: intermediate results then stay in the caches, since writing them
    to memory takes longer than computing them.
    """
    if normalizer is not None:
        return Digest(normalizer.view(logits.shape[:-1]), _chunk_maxima(logits))
    if logits.device.type != "cpu":
        return Digest(logits.logsumexp(-1), _chunk_maxima(logits))
    rows_NV = logits.flatten(0, -2)
    count, vocabulary = rows_NV.shape
    at_once = _equal_parts(count, max(1, CACHED // vocabulary))
    maxima_NC = logits.new_empty(count, -(-vocabulary // CHUNK))
    normalizer_N = logits.new_empty(count)
    room_RV = logits.new_empty(min(at_once, count), vocabulary)
    for start in range(0, count, at_once):
        part_RV = rows_NV[start : start + at_once]
        rows = slice(start, start + len(part_RV))
        maxima_NC[rows] = _chunk_maxima(part_RV)
        top_R1 = maxima_NC[rows].amax(-1, keepdim=True)
        exps_RV = torch.sub(part_RV, top_R1, out=room_RV[: len(part_RV)]).exp_()
        normalizer_N[rows] = exps_RV.sum(-1).log_().add_(top_R1.squeeze(-1))
    return Digest(normalizer_N.view(logits.shape[:-1]), maxima_NC.view(*logits.shape[:-1], -1))


def _equal_parts(count: int, at_once: int) -> int:
    """Rows of a part, at most `at_once`, such that no part has a single row unless all have.

    The sum over a single row is divided among threads, and so it rounds differently.
    """
    while at_once > 1 and count % at_once == 1:
        at_once -= 1
    return at_once


class BestTokens(NamedTuple):
    """The R best continuations of a sentence, best first; values of -inf are no candidates."""

    values: Tensor
    """float64 [B, R]."""
    rows: Tensor
    """int64 [B, R], the hypothesis 0..K-1 that is continued."""
    tokens: Tensor
    """int64 [B, R], by which token."""


def largest(values_BJ: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Values and indices [B, count] of the largest, best first; of equal ones the lower index.

    Where fewer than `count` are above -inf, the rest are -inf with any index.
    """
    if values_BJ.device.type == "cpu" and count < values_BJ.shape[-1]:
        found = values_BJ.topk(count + 1, dim=-1)
        # Without ties there is one answer. Looking would make a GPU wait.
        if bool((found.values[:, :-1] > found.values[:, 1:]).all()):
            return found.values[:, :-1], found.indices[:, :-1]
    if count > ROUNDS:
        sorted_BJ, index_BJ = values_BJ.sort(dim=-1, descending=True, stable=True)
        return sorted_BJ[:, :count], index_BJ[:, :count]
    rest_BJ = values_BJ.clone()
    maxima = []
    for _ in range(count):
        maxima.append(rest_BJ.max(dim=-1, keepdim=True))  # the first of equal values
        rest_BJ.scatter_(-1, maxima[-1].indices, -torch.inf)
    return torch.cat([m.values for m in maxima], -1), torch.cat([m.indices for m in maxima], -1)


def first_largest(logits_BKV: Tensor, maxima_BKC: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Value and token [B, K] of each row's largest logit; of equal ones the lower token's.

    `maxima_BKC` as for `best_tokens`.
    """
    maxima_BKC = _up_to_date(logits_BKV, maxima_BKC)
    first_BK1 = maxima_BKC.max(-1, keepdim=True).indices * CHUNK  # the first of equal values
    within_W = torch.arange(CHUNK, device=logits_BKV.device)
    place_BKW = (first_BK1 + within_W).clamp_(max=logits_BKV.shape[-1] - 1)
    best = logits_BKV.gather(-1, place_BKW).max(-1, keepdim=True)
    return best.values.squeeze(-1), place_BKW.gather(-1, best.indices).squeeze(-1)


def best_tokens(
    logits_BKV: Tensor, offsets_BK: Tensor, count: int, maxima_BKC: Tensor | None = None
) -> BestTokens:
    """The `count` <= K best of the K*V values logits + offsets; ties: lower row, then lower token.

    `maxima_BKC` are those of `digest` where logits have changed since in the first chunk alone,
    which holds PAD, BOS and EOS; None to find them now.

    Only one pass reads all logits: the maximum of every chunk of 64 tokens. The `count` best
    elements lie in the `count` best chunks: were one in another chunk, each of those chunks
    would hold an element that ranks ahead of it, by value or by index.
    """
    vocabulary = logits_BKV.shape[-1]
    maxima_BKC = _up_to_date(logits_BKV, maxima_BKC).double() + offsets_BK.unsqueeze(-1)
    chunks = maxima_BKC.shape[-1]
    maxima_BR, chunk_BR = largest(maxima_BKC.flatten(1), count)
    chunk_BR, order_BR = chunk_BR.sort(dim=-1)  # ascending, so that a lower place is a lower token
    is_real_BR = maxima_BR.gather(-1, order_BR) > -torch.inf
    row_BR = chunk_BR // chunks
    within_W = torch.arange(CHUNK, device=logits_BKV.device)
    token_BRW = (chunk_BR % chunks * CHUNK).unsqueeze(-1) + within_W
    place_BRW = token_BRW.clamp(max=vocabulary - 1) + (row_BR * vocabulary).unsqueeze(-1)
    value_BRW = logits_BKV.flatten(1).gather(-1, place_BRW.flatten(1)).view_as(place_BRW).double()
    value_BRW = value_BRW + offsets_BK.gather(-1, row_BR).unsqueeze(-1)
    is_real_BRW = (token_BRW < vocabulary) & is_real_BR.unsqueeze(-1)
    value_BRW = value_BRW.masked_fill(~is_real_BRW, -torch.inf)
    values_BR, index_BR = largest(value_BRW.flatten(1), count)
    tokens_BR = place_BRW.flatten(1).gather(-1, index_BR) % vocabulary
    return BestTokens(values_BR, row_BR.gather(-1, index_BR // CHUNK), tokens_BR)


def _up_to_date(logits_BKV: Tensor, maxima_BKC: Tensor | None) -> Tensor:
    """The maxima of every chunk, of which all but the first may be known."""
    if maxima_BKC is None:
        return _chunk_maxima(logits_BKV)
    first_BK1 = logits_BKV[..., :CHUNK].amax(-1, keepdim=True)
    return torch.cat((first_BK1, maxima_BKC[..., 1:]), dim=-1)


def _chunk_maxima(logits_BKV: Tensor) -> Tensor:
    """Largest logit of every chunk [B, K, C]; the last chunk may be short."""
    vocabulary = logits_BKV.shape[-1]
    whole = vocabulary // CHUNK * CHUNK
    split = (*logits_BKV.shape[:-1], whole // CHUNK, CHUNK)
    maxima_BKC = logits_BKV[..., :whole].view(split).amax(-1)
    if whole == vocabulary:
        return maxima_BKC
    return torch.cat((maxima_BKC, logits_BKV[..., whole:].amax(-1, keepdim=True)), dim=-1)
