"""Logits constraints: repetition penalty, repeated n-grams, minimum length, unknown tokens.

They change the logits before the strategy chooses (others call them logits processors), but not the
total of a hypothesis, which is the log-probability of the model.

Dimension letters: B sentences, K hypotheses per sentence, H steps of history, V vocabulary,
W windows of history, G tokens of an n-gram.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from s2s.recipe.search import Search
from s2s.search.bucketing import longest_output
from s2s.special import EOS, PAD, UNK


class LiveTokens(NamedTuple):
    """The tokens of the live hypotheses."""

    tokens_BKH: Tensor
    """int64, in order, padded with PAD."""
    length_B: Tensor
    """int64, number of tokens: the same for all hypotheses of a sentence."""
    least_B: Tensor
    """int64, minimum number of tokens."""


def without_unknown(logits: Tensor) -> Tensor:
    """A copy of the logits [..., V] that excludes the unknown token."""
    changed = logits.clone()
    changed[..., UNK] = -torch.inf
    return changed


def is_constrained(search: Search) -> bool:
    """Whether a search has logits constraints."""
    return (
        search.min_ratio > 0.0
        or search.min_offset > 0
        or search.no_repeat_ngram is not None
        or search.repetition_penalty != 1.0
    )


def shortest_output(length: int, search: Search) -> int:
    """Fewest tokens (EOS is none) for a source of `length` tokens without EOS.

    An output always has room to end.
    """
    wanted = math.ceil(search.min_ratio * length - 1e-9) + search.min_offset
    return min(wanted, longest_output(length, search) - 1)


def constrained(
    logits_BKV: Tensor, normalizer_BK: Tensor, live_tokens: LiveTokens, search: Search
) -> Tensor:
    """A copy of the logits with the constraints applied; log p = logit - normalizer.

    - Tokens of the hypothesis have their log-probability multiplied by
      `repetition_penalty`. (Keskar et al. 2019, section 4.1, divide or multiply the logit by its
      sign, which depends on the arbitrary zero of logits; log-probabilities have one sign.)
    - A token that would complete an n-gram of the hypothesis is excluded (Paulus et al. 2018,
      section 2.5); EOS completes none.
    - EOS is excluded before the minimum length.
    - Where no token is left, the output may end: the constraints cannot be met.
    """
    changed_BKV = logits_BKV.clone()
    if search.repetition_penalty != 1.0:
        # penalty * log p, as a logit
        shift_BK1 = (1.0 - search.repetition_penalty) * normalizer_BK.unsqueeze(-1)
        penalized_BKV = search.repetition_penalty * logits_BKV + shift_BK1
        changed_BKV = torch.where(_is_past(logits_BKV, live_tokens), penalized_BKV, changed_BKV)
    if search.no_repeat_ngram is not None:
        changed_BKV.masked_fill_(
            _repeats(changed_BKV, live_tokens, search.no_repeat_ngram), -torch.inf
        )
    is_short_B1 = (live_tokens.length_B < live_tokens.least_B).unsqueeze(1)
    changed_BKV[..., EOS] = changed_BKV[..., EOS].masked_fill(is_short_B1, -torch.inf)
    is_stuck_BK = changed_BKV.amax(-1) == -torch.inf
    changed_BKV[..., EOS] = torch.where(is_stuck_BK, logits_BKV[..., EOS], changed_BKV[..., EOS])
    return changed_BKV


def _is_past(logits_BKV: Tensor, live_tokens: LiveTokens) -> Tensor:
    """bool [B, K, V], tokens of each hypothesis; PAD too."""
    is_past_BKV = torch.zeros_like(logits_BKV, dtype=torch.bool)
    return is_past_BKV.scatter_(-1, live_tokens.tokens_BKH, True)


def _repeats(logits_BKV: Tensor, live_tokens: LiveTokens, size: int) -> Tensor:
    """bool [B, K, V], tokens that complete an n-gram of `size` tokens for the second time."""
    is_repeat_BKV = torch.zeros_like(logits_BKV, dtype=torch.bool)
    time = live_tokens.tokens_BKH.shape[-1]
    if size > time:
        return is_repeat_BKV
    windows_BKWG = live_tokens.tokens_BKH.unfold(-1, size, 1)
    place_BG = live_tokens.length_B.unsqueeze(1) + torch.arange(
        1 - size, 0, device=logits_BKV.device
    )
    place_BKG = place_BG.clamp(0, time - 1).unsqueeze(1).expand(-1, windows_BKWG.shape[1], -1)
    last_BKG = live_tokens.tokens_BKH.gather(-1, place_BKG)
    is_same_BKW = (windows_BKWG[..., :-1] == last_BKG.unsqueeze(2)).all(-1)
    end_W = torch.arange(size, time + 1, device=logits_BKV.device)
    is_same_BKW &= (end_W <= live_tokens.length_B.unsqueeze(1)).unsqueeze(1)
    # PAD is excluded anyway: it stands for windows that exclude nothing.
    tokens_BKW = windows_BKWG[..., -1].masked_fill(~is_same_BKW, PAD)
    return is_repeat_BKV.scatter_(-1, tokens_BKW, True)
