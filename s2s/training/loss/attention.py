"""Losses on attention weights: coverage (See et al. 2017) and doubly stochastic attention
(Xu et al. 2015)."""

import torch
from torch import Tensor


def doubly_stochastic_losses(weights_BTS: Tensor, inside_BT: Tensor, words_BS: Tensor) -> Tensor:
    """float32 [B]: sum_i (1 - sum_t a_ti)^2 over the words or regions i of a source, t its target.

    Xu et al. 2015, equation 14; `inside_BT` (bool) excludes padding. The EOS of a text is not a
    word.
    """
    total_BS = (weights_BTS * inside_BT.unsqueeze(-1)).sum(1)
    return ((1.0 - total_BS).square() * words_BS).sum(-1)


def coverage_losses(weights_BTS: Tensor, words_BS: Tensor) -> Tensor:
    """float32 [B, T]: sum_j min(a_tj, c_tj) over words, c_t the sum of a before step t.

    See et al. 2017, equation 12. The EOS of the source is not a word: a decoder looks there when it
    needs nothing from the source, and may do so again.
    """
    attended_BTS = weights_BTS * words_BS.unsqueeze(1)
    before_BTS = attended_BTS.cumsum(1) - attended_BTS
    return torch.minimum(attended_BTS, before_BTS).sum(-1)
