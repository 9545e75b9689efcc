"""The scores of labels: which are allowed at a place, and which follow each other.

A tagger with a CRF scores a whole sequence of labels y of n words,

    score(y) = sum_i logit_i(y_i) + T(y_{i-1}, y_i),   y_0 = BOS, y_{n+1} = EOS

and P(y) = exp(score(y)) / Z (Lafferty et al. 2001). That distribution is a chain of conditional
ones, P(y_i | y_{i-1}) = softmax(logit_i + T(y_{i-1}, .) + b_i), where b_i(y) is the logarithm of
the summed scores of all that can follow label y at word i, computed backwards. So a step of search
predicts one label from the one before it, as every decoder does, the probabilities of a sequence's
labels multiply to that of the CRF, and its loss is their cross-entropy.

Dimension letters: B sentences, T label time, V labels (all tokens of the target), N rows.
"""

import torch
from torch import Tensor, nn

from s2s.special import EOS, SPECIAL_PIECES

NEVER = float("-inf")
FIRST_LABEL = len(SPECIAL_PIECES)


class LabelScores(nn.Module):
    """The logits of labels at their places; with a CRF also its transitions."""

    def __init__(self, vocabulary: int, *, crf: bool) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(vocabulary, vocabulary)) if crf else None

    def forward(self, logits_BTV: Tensor, count_B: Tensor) -> Tensor:
        """float32 [B, T + 1, V], the logits of labels at places 0 to T.

        Places below a text's `count` allow labels alone, the others EOS alone. With a CRF, the
        scores of what follows are added, and `after` adds those of the label before.
        """
        logits_BTV = logits_BTV.float()
        logits_BTV = nn.functional.pad(logits_BTV, (0, 0, 0, 1))
        token_V = torch.arange(logits_BTV.shape[-1], device=logits_BTV.device)
        place_T1 = torch.arange(logits_BTV.shape[1], device=logits_BTV.device).unsqueeze(1)
        is_label_BT1 = place_T1 < count_B.view(-1, 1, 1)
        allowed_BTV = torch.where(is_label_BT1, token_V >= FIRST_LABEL, token_V == EOS)
        # The end has probability 1 whatever its logit, which would otherwise be learned for it.
        logits_BTV = torch.where(is_label_BT1, logits_BTV, 0.0)
        logits_BTV = logits_BTV.masked_fill(~allowed_BTV, NEVER)
        if self.transitions is None:
            return logits_BTV
        return logits_BTV + _following(logits_BTV, self.transitions.float())

    def after(self, logits_NV: Tensor, tokens_N: Tensor) -> Tensor:
        """`logits_NV` at a place after `tokens_N` at the one before."""
        if self.transitions is None:
            return logits_NV
        return logits_NV + self.transitions.float()[tokens_N]


def _following(logits_BTV: Tensor, transitions_VV: Tensor) -> Tensor:
    """float32 [B, T, V]: the logarithm of the summed scores of all that can follow each label.

    Beyond the end EOS follows EOS, which must not count: there the sums are 0.
    """
    batch, time, size = logits_BTV.shape
    following_BV = logits_BTV.new_zeros(batch, size)
    found = [following_BV]
    is_end_BT = logits_BTV[..., EOS] == 0.0
    for place in range(time - 1, 0, -1):
        after_BVV = transitions_VV + (logits_BTV[:, place] + following_BV).unsqueeze(1)
        sums_BV = _log_sum(after_BVV)
        # A label's sums are taken up to the end itself: none follow it.
        following_BV = torch.where(is_end_BT[:, place - 1, None], 0.0, sums_BV)
        found.append(following_BV)
    return torch.stack(found[::-1], dim=1)


def _log_sum(x_BVW: Tensor) -> Tensor:
    """log sum exp over the last dimension, in which something is finite."""
    top_BV1 = x_BVW.amax(-1, keepdim=True)
    found: Tensor = (x_BVW - top_BV1).exp().sum(-1).log() + top_BV1.squeeze(-1)
    return found
