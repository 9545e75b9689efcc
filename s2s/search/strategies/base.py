"""Strategies: which continuations live, which hypotheses end, how the ended ones rank.

The tie rule of every strategy: of equal values an end ranks ahead of a continuation, then the
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
    """What one step decides. A row with total -inf is dead: nothing continues it."""

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
    """The largest logit of every chunk of tokens but the first (`top.digest`), where logits are as
    the model has them."""


class Strategy(Protocol):
    """How to decode, as the loop sees it. Every sentence is decided by itself."""

    @property
    def width(self) -> int:
        """K, hypotheses per sentence. A sentence is done when as many have ended."""
        ...

    @property
    def keep(self) -> int:
        """How many of the best hypotheses are wanted, at most `width`."""
        ...

    @property
    def coverage_penalty(self) -> float:
        """Weight of the coverage penalty, which the ledger takes off scores; 0 for none."""
        ...

    @property
    def is_sampling(self) -> bool:
        """Whether row k is draw k: it continues itself alone, and comes back k-th, not ranked."""
        ...

    def choose(self, logits_BKV: Tensor, offsets_BK: Tensor, context: StepContext) -> Choice:
        """Decide a step: the total of continuing row k by token v is logits[k, v] + offsets[k].

        The offset is the row's total less the logarithm of its normalizer. PAD and BOS are -inf
        already. The logits may be overwritten.
        """
        ...

    def score(self, log_probs: Floats, lengths: NDArray[np.int64]) -> Floats:
        """What ranks ended hypotheses; `lengths` count EOS."""
        ...

    def bound(self, totals: Floats, limits: NDArray[np.int64]) -> Floats:
        """No completion of a hypothesis of this total, at most `limit` long, scores above this."""
        ...
