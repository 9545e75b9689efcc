"""Hard attention: each target token comes from one source position, and alignments are summed out.

a_i is the position of token i. What a position says about a token depends on nothing but the tokens
before it, so the sum over all alignments is exact:

    p(y_i | y_<i) = sum_j q_i(j) p(y_i | a_i = j, y_<i)         q_i(j) = p(a_i = j | y_<i)

`hard` (Wu et al. 2018, "Hard Non-Monotonic Attention for Character-Level Transduction", section 3):
q_i is the softmax of the scores e_ij. `hard_monotonic` (Wu & Cotterell 2019, "Exact Hard Monotonic
Attention for Character-Level Transduction", section 3, their 0-MONO): positions never go back,

    p(a_i = j | a_{i-1} = k) = exp e_ij / sum_{l >= k} exp e_il  for j >= k, else 0

with a_0 the first position, and q_i follows from the forward algorithm:

    q_i(j) = sum_k p(a_i = j | a_{i-1} = k) f_{i-1}(k)    f_i(j) = q_i(j) p(y_i | j) / p(y_i | y_<i)

A transition depends on k through its normalizer alone, so each step is two cumulative sums, O(S)
where a matrix of transitions would be O(S^2). All values are logarithms.

Dimension letters: B sentences, T target time, S source time, N tokens or rows, V vocabulary,
E readout width.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from s2s.nn.pointer import NEVER

CELLS = 1 << 22
"""Most probabilities of tokens at positions that are computed at a time, which bounds memory."""


def masked_scores(scores_BQS: Tensor, mask_BS: Tensor) -> Tensor:
    """The scores, NEVER where `mask_BS` (bool, true inside) is false."""
    return scores_BQS.masked_fill(~mask_BS.unsqueeze(1), NEVER)


def log_prior(scores: Tensor, posterior: Tensor | None) -> Tensor:
    """log q_i [..., S] from masked scores e_i and log f_{i-1}; None for `hard`, without order."""
    if posterior is None:
        return scores.log_softmax(-1)
    return scores + (posterior - _log_sums_from(scores)).logcumsumexp(-1)


def log_priors(scores_BTS: Tensor, said_BTS: Tensor, is_monotonic: bool) -> Tensor:
    """log q_i [B, T, S] of all steps, from masked scores and log p(y_i | a_i = j, y_<i)."""
    first_BTS = scores_BTS.log_softmax(-1)
    if not is_monotonic:
        return first_BTS
    sums_BTS = _log_sums_from(scores_BTS)
    found = [first_BTS[:, 0]]
    steps = zip(said_BTS.unbind(1), scores_BTS.unbind(1)[1:], sums_BTS.unbind(1)[1:], strict=False)
    for said_BS, scores_BS, sums_BS in steps:
        posterior_BS = log_posterior(found[-1], said_BS)
        found.append(scores_BS + (posterior_BS - sums_BS).logcumsumexp(-1))
    return torch.stack(found, dim=1)


def log_posterior(prior: Tensor, said: Tensor) -> Tensor:
    """log f_i [..., S] from log q_i and log p(y_i | a_i = j, y_<i)."""
    return (prior + said).log_softmax(-1)


def _log_sums_from(scores: Tensor) -> Tensor:
    """log sum_{l >= k} exp e_l [..., S] at each position k."""
    return scores.flip(-1).logcumsumexp(-1).flip(-1)


class OutputLayer(Protocol):
    """Logits [..., V] of readouts [..., E]."""

    @property
    def weight(self) -> Tensor:
        """W [V, E]."""
        ...

    @property
    def bias(self) -> Tensor:
        """b [V]."""
        ...

    def __call__(self, readout: Tensor, /) -> Tensor:
        """W r + b."""
        ...


class Emissions:
    """The logits W r_ij + b of N tokens at all positions j of their sources,

    r_ij = tanh(W h_i + U s_j + b). There are N S V of them, so they are computed for some tokens at
    a time where they are many, and again for the backward pass.
    """

    def __init__(
        self,
        output: OutputLayer,
        own_NE: Tensor,
        sources_BSE: Tensor,
        sentence_N: Tensor,
        kept_BE: Tensor | None = None,
    ) -> None:
        """`own` is W h_i + b, `sources` U s_j, `kept` a mask of dropout."""
        self.output = output
        self.own_NE = own_NE
        self.sources_BSE = sources_BSE
        self.sentence_N = sentence_N
        self.kept_BE = kept_BE
        vocabulary, positions = len(output.bias), sources_BSE.shape[1]
        size = max(1, CELLS // max(1, positions * vocabulary))
        count = len(own_NE)
        self.chunks = [slice(at, min(at + size, count)) for at in range(0, max(count, 1), size)]
        self._only: Tensor | None = None
        """The logits, where there is one chunk."""

    def readouts(self, rows: slice) -> Tensor:
        """r [C, S, E] of C tokens."""
        sentence_C = self.sentence_N[rows]
        sources_CSE = self.sources_BSE.index_select(0, sentence_C)
        r_CSE = torch.tanh(self.own_NE[rows].unsqueeze(1) + sources_CSE)
        if self.kept_BE is None:
            return r_CSE
        return r_CSE * self.kept_BE.index_select(0, sentence_C).unsqueeze(1)

    def each(self, function: Callable[..., Tensor], *parts_N: Tensor) -> Tensor:
        """`function` of the logits float32 [C, S, V] of some tokens, and of the parts [N, ...] of
        these; its results [C, ...] of all tokens."""
        if len(self.chunks) == 1:
            if self._only is None:
                self._only = self._logits(self.chunks[0])
            return function(self._only, *parts_N)

        def of_chunk(rows: slice, *parts_C: Tensor) -> Tensor:
            return function(self._logits(rows), *parts_C)

        found = []
        for rows in self.chunks:
            parts_C = [part[rows] for part in parts_N]
            if torch.is_grad_enabled():
                found.append(
                    checkpoint(
                        *(of_chunk, rows, *parts_C), use_reentrant=False, preserve_rng_state=False
                    )
                )
            else:
                found.append(of_chunk(rows, *parts_C))
        return torch.cat(found)

    def _logits(self, rows: slice) -> Tensor:
        return self.output(self.readouts(rows)).float()


def target_logits(logits_CSV: Tensor, tokens_C: Tensor) -> Tensor:
    """[C, S, 2]: the logit of each row's token, and the logarithm of the sum of all exp logits."""
    place_CS1 = tokens_C.view(-1, 1, 1).expand(-1, logits_CSV.shape[1], 1)
    said_CS = logits_CSV.gather(-1, place_CS1).squeeze(-1)
    return torch.stack((said_CS, logits_CSV.logsumexp(-1)), dim=-1)


def log_normalizers(logits_CSV: Tensor) -> Tensor:
    """[C, S]: the logarithm of the sum of exp logits."""
    return logits_CSV.logsumexp(-1)


def marginal(logits_CSV: Tensor, weights_CS: Tensor) -> Tensor:
    """log p(v | y_<i) [C, V] of all tokens v; `weights` are log q_i minus the normalizers.

    On a CPU each row is rounded alike at any place: sums run over the last dimension.
    """
    joint_CVS = (logits_CSV + weights_CS.unsqueeze(-1)).mT.contiguous()
    return joint_CVS.logsumexp(-1)
