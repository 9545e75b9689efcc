"""Cross-entropy of hard attention: of the probabilities that are summed over all alignments.

Dimension letters: N tokens, C tokens of a chunk, B sentences, T target time, S source time,
V vocabulary.
"""

from torch import Tensor

from s2s.nn.hard_attention import Emissions, log_priors, marginal, target_logits
from s2s.training.loss.cross_entropy import Loss


def hard_cross_entropy(
    emissions: Emissions,
    scores_BTS: Tensor,
    targets_N: Tensor,
    places_N: Tensor,
    *,
    is_monotonic: bool,
    smoothing: float = 0.0,
) -> Loss:
    """Loss of predicting `targets_N` (int64), at places int64 [N] of [T, B], flattened, summed.

    `emissions` are those of the N tokens, scores are masked. With smoothing e, as in
    `linear_cross_entropy`, the target distribution is (1 - e) on the target plus e / V everywhere,
    and what predicts it is the distribution summed over alignments.
    """
    sentences, time, positions = scores_BTS.shape
    logit_NS, normalizers_NS = emissions.each(target_logits, targets_N).unbind(-1)
    said_NS = logit_NS - normalizers_NS
    # Padding comes after the tokens of its sentence, so that nothing depends on its values.
    padded_NS = said_NS.new_zeros(time * sentences, positions).index_copy(0, places_N, said_NS)
    said_BTS = padded_NS.view(time, sentences, positions).transpose(0, 1)
    prior_BTS = log_priors(scores_BTS, said_BTS, is_monotonic)
    prior_NS = prior_BTS.transpose(0, 1).flatten(0, 1).index_select(0, places_N)
    nll = -(prior_NS + said_NS).logsumexp(-1).sum()
    if not smoothing:
        return Loss(nll, nll.detach())
    uniform = emissions.each(_uniform_losses, prior_NS - normalizers_NS).sum()
    return Loss((1.0 - smoothing) * nll + smoothing * uniform, nll.detach())


def _uniform_losses(logits_CSV: Tensor, weights_CS: Tensor) -> Tensor:
    """[C]: the cross-entropy with the uniform distribution."""
    return -marginal(logits_CSV, weights_CS).mean(-1)
