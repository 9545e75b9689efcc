"""The objective of models of labels: cross-entropy, or the likelihood of a CRF.

Dimension letters: B texts, T label time, V labels (all tokens of the target), N labels of a batch.
"""

import math
from typing import Any

import torch
from torch import Tensor

from s2s.nn.batch import Batch
from s2s.nn.device import to_device
from s2s.nn.label_scores import FIRST_LABEL
from s2s.nn.model import Seq2Seq
from s2s.recipe.train import Train
from s2s.special import EOS, PAD
from s2s.training.objective import BatchLoss


def label_loss(model: Seq2Seq, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sums over the labels of a batch: the minimized loss, and the negative log-likelihood.

    `batch` is on the host and moves to the model's device. With label smoothing, the other labels
    share a part of the probability; the end that follows the labels is certain and costs nothing.
    """
    device = model.output.bias.device
    # On the host, which need not wait for the device to know how many labels there are.
    flat = batch.target_output.reshape(-1)
    labels_N = ((flat != PAD) & (flat != EOS)).nonzero().squeeze(1)
    targets_N = to_device(flat[labels_N] - FIRST_LABEL, device)
    there = batch.to(str(device))
    logits_BTV = model(there.source, there.source_lengths, there.target_input)
    logits_NV = logits_BTV.flatten(0, 1).index_select(0, to_device(labels_N, device))
    logits_NV = logits_NV[:, FIRST_LABEL:]
    log_probs_NV = torch.log_softmax(logits_NV, dim=-1)
    nll = -log_probs_NV.gather(1, targets_N.unsqueeze(1)).sum()
    loss = (1.0 - smoothing) * nll - smoothing * log_probs_NV.mean(-1).sum()
    return loss, nll.detach()


class LabelObjective:
    """Cross-entropy of labels."""

    measures = ()
    """See `Objective`."""

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
