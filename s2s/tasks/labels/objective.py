"""The objective of models of labels: cross-entropy, or the likelihood of a CRF.

Dimension letters: B texts, T label time, V labels (all tokens of the target), N labels of a batch.
"""

import math
from typing import Any

import torch
from torch import Tensor

from s2s.nn.batch import Batch
from s2s.nn.label_scores import FIRST_LABEL
from s2s.nn.model import Seq2Seq
from s2s.recipe.train import Train
from s2s.special import EOS, PAD
from s2s.training.objective import BatchLoss


def label_loss(model: Seq2Seq, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sums over the labels of a batch: the minimized loss, and the negative log-likelihood.

    With label smoothing, the other labels share a part of the probability; the end that follows
    the labels is certain and costs nothing.
    """
    there = batch.to(str(model.output.bias.device))
    logits_BTV = model(there.source, there.source_lengths, there.target_input)
    is_label_BT = (there.target_output != PAD) & (there.target_output != EOS)
    logits_NV = logits_BTV[is_label_BT][:, FIRST_LABEL:]
    targets_N = there.target_output[is_label_BT] - FIRST_LABEL
    log_probs_NV = torch.log_softmax(logits_NV, dim=-1)
    nll = -log_probs_NV.gather(1, targets_N.unsqueeze(1)).sum()
    loss = (1.0 - smoothing) * nll - smoothing * log_probs_NV.mean(-1).sum()
    return loss, nll.detach()


class LabelObjective:
    """Cross-entropy of labels."""

    def __init__(self, recipe: Train, labels: int, *, is_one: bool) -> None:
        """`labels` is their number, which bounds the loss of a model that guesses; `is_one` where a
        text has one, so that half of the target's tokens are ends, which cost nothing."""
        self.recipe = recipe
        self.labels = labels
        self.scale = 2.0 if is_one else 1.0

    def loss(self, model: Seq2Seq, batch: Batch, update: int, carried: Any = None) -> BatchLoss:
        """See `Objective`. Texts are independent of each other, so nothing is carried on."""
        assert carried is None, "texts carry no state"
        loss, nll = label_loss(model, batch, self.recipe.label_smoothing)
        return BatchLoss(self.scale * loss, self.scale * nll, nll.new_zeros(()))

    def has_diverged(self, loss: float, nll: float) -> bool:
        """See `Objective`. A uniform guess costs log V a label."""
        return not loss < 3.0 * math.log(self.labels + 1) + 2.0
