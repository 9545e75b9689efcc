"""Losses on attention weights: coverage (See et al. 2017), doubly stochastic attention (Xu et al.
2015) and guided alignment (Chen et al. 2016)."""

import torch
from torch import Tensor
from torch.nn import functional as F


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


def guided_alignment_losses(log_weights_BTS: Tensor, links_BTR: Tensor) -> Tensor:
    """float32 [B, T]: -1/|A_t| sum_{s in A_t} log a_ts, A_t the source tokens that target token t
    is linked to; 0 for a token without links.

    Chen et al. 2016, section 4, cross-entropy. Links are bool [B, T, R] of the first R of the S
    positions, the tokens of a text.
    """
    positions = log_weights_BTS.shape[2] - links_BTR.shape[2]
    links_BTS = F.pad(links_BTR, (0, positions))
    sums_BT = -torch.where(links_BTS, log_weights_BTS, 0.0).sum(-1)
    return sums_BT / links_BTS.sum(-1).clamp_min(1)
