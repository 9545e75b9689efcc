"""Training on a metric: minimum risk and self-critical training, from rewards of candidates.

Both estimate the gradient of the expected reward of the model's outputs. Minimum-risk training
takes the expectation over a few candidates, whose probabilities are renormalized; self-critical
training draws outputs and weighs the gradient of their log-probability (REINFORCE, Williams 1992).

Dimension letters: B pairs, K most different candidates of a pair, M candidates of all pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class MetricLosses(NamedTuple):
    """The loss of a batch, and what it says about its pairs."""

    loss: Tensor
    """[], the expected loss, the negated reward, summed over pairs."""
    measures: Tensor
    """[measures], summed over pairs, without gradient."""


class Draws(NamedTuple):
    """The samples of pairs."""

    times_M: Tensor
    """float64, how often each different one was drawn."""
    samples: int
    """The number of samples of a pair."""


MINIMUM_RISK_MEASURES = ("reward", "best_reward", "entropy", "candidates", "length")
"""Of the candidates of a pair: expected and highest reward, entropy of their renormalized
probabilities in nats, how many there are, expected number of predictions."""

SELF_CRITICAL_MEASURES = ("reward", "baseline", "entropy", "candidates", "length")
"""Of the samples of a pair: mean reward and baseline, the estimate of the model's entropy in nats
(the mean of -log p), how many are different, mean number of predictions."""


def minimum_risk(
    log_probs_M: Tensor, rewards_M: Tensor, lengths_M: Tensor, mask_BK: Tensor, alpha: float
) -> MetricLosses:
    """The risk sum_y Q(y) (-reward(y)) of each pair's candidates, summed over pairs.

    Q(y) = p(y)^alpha / sum_y' p(y')^alpha (Shen et al. 2016, section 3). `mask_BK` (bool)
    is true at candidates, which stand in the order of its rows.
    """
    log_probs_BK = log_probs_M.new_full(mask_BK.shape, -torch.inf)
    log_probs_BK = log_probs_BK.masked_scatter(mask_BK, alpha * log_probs_M)
    q_M = torch.softmax(log_probs_BK, dim=-1)[mask_BK]
    rewards_M = rewards_M.to(q_M.dtype)
    risk = -(q_M * rewards_M).sum()
    with torch.no_grad():
        highest_BK = torch.full_like(log_probs_BK, -torch.inf).masked_scatter(mask_BK, rewards_M)
        entropy = -torch.special.xlogy(q_M, q_M).sum()
        length = (q_M * lengths_M).sum()
        count = mask_BK.sum().to(q_M.dtype)
        measures = torch.stack((-risk, highest_BK.amax(-1).sum(), entropy, count, length))
    return MetricLosses(risk, measures)


def self_critical(
    log_probs_M: Tensor,
    rewards_M: Tensor,
    lengths_M: Tensor,
    draws: Draws,
    baselines_M: Tensor,
) -> MetricLosses:
    """The loss whose gradient is that of -(reward - baseline) log p(y) (Rennie et al. 2017,
    section 3), averaged over the samples of a pair and summed over pairs.

    The value of the loss is the mean of negated rewards, as an estimate of the risk.
    """
    share_M = (draws.times_M / draws.samples).to(log_probs_M.dtype)
    rewards_M, baselines_M = (one.to(log_probs_M.dtype) for one in (rewards_M, baselines_M))
    surrogate = -(share_M * (rewards_M - baselines_M) * log_probs_M).sum()
    with torch.no_grad():
        parts = (rewards_M, baselines_M, -log_probs_M)
        reward, baseline, entropy = ((share_M * one).sum() for one in parts)
        count = torch.ones_like(share_M).sum()
        length = (share_M * lengths_M).sum()
        measures = torch.stack((reward, baseline, entropy, count, length))
    return MetricLosses(surrogate - surrogate.detach() - reward, measures)


def mean_of_others(rewards_M: Tensor, draws: Draws, mask_BK: Tensor) -> Tensor:
    """The mean reward [M] of the other samples of the pair (Luo 2020).

    Of a sample that was drawn n times, n - 1 of the others have the same reward.
    """
    weighed_M = draws.times_M * rewards_M
    weighed_BK = rewards_M.new_zeros(mask_BK.shape).masked_scatter(mask_BK, weighed_M)
    sum_M = weighed_BK.sum(-1, keepdim=True).expand(mask_BK.shape)[mask_BK]
    return (sum_M - rewards_M) / (draws.samples - 1)
