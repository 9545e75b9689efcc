"""Search strategies: which continuations stay, which hypotheses end, how ended ones rank.

The tie rule of every strategy: among equal values an end ranks before a continuation, then the
lower row, then the lower token id.

Dimension letters: B sentences, K hypotheses per sentence, V vocabulary.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.constraints.batch_constraints import BatchConstraints

Floats = NDArray[np.float64]


class Choice(NamedTuple):
    """The decision of a step. A row with total -inf is dead: nothing continues it."""

    rows: Tensor
    """int64 [B, K], which hypothesis 0..K-1 each live one continues."""
    tokens: Tensor
    """int64 [B, K], by which token; never EOS."""
    totals: Tensor
    """float64 [B, K], log-probability of each live hypothesis."""
    ended: Tensor
    """float64 [B, K], log-probability of hypothesis k with EOS where it ends here, else -inf."""


class StepContext(NamedTuple):
    """The sentences of a step, for strategies that depend on them."""

    place_B: Tensor
    """int64 [B], each sentence's own number, whichever sentences it is decoded with."""
    length_B: Tensor
    """int64 [B], tokens of the live hypotheses so far."""
    ended_BK: Tensor
    """int64 [B, K], how many hypotheses have ended in each row so far."""
    constraints: BatchConstraints | None = None
    """The constraints of the sentences, if they have any."""
    is_last_B: Tensor | None = None
    """bool [B], whether an output is cut after the next token, where there are constraints."""
    maxima_BKC: Tensor | None = None
    """The largest logit of every chunk of tokens but the first (`s2s.search.topk.digest`), where
    logits are as the model has them."""


class Strategy(Protocol):
    """A search strategy. It decides for each sentence independently."""

    @property
    def width(self) -> int:
        """K, hypotheses per sentence. A sentence is done when K have ended."""
        ...

    @property
    def keep(self) -> int:
        """Number of hypotheses to return, at most `width`."""
        ...

    @property
    def coverage_penalty(self) -> float:
        """Weight of the coverage penalty, which the beam history subtracts; 0 for none."""
        ...

    @property
    def is_sampling(self) -> bool:
        """Whether row k is sample k: it continues only itself and is returned k-th, unranked."""
        ...

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """Decide a step: the total of continuing row k by token v is logits[k, v] + offsets[k].

        The offset is the row's total less the logarithm of its normalizer. PAD and BOS are -inf
        already. The logits may be overwritten.
        """
        ...

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """Scores that rank ended hypotheses; `lengths` count EOS."""
        ...

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """Upper bounds of the scores of completions of at most `limit` predictions."""
        ...
