"""A hypothesis: token ids and scores, without tensors."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hypothesis:
    """One output for one source."""

    key: int
    """The index of its source."""
    tokens: tuple[int, ...]
    """The output without EOS."""
    log_prob: float
    """Sum of the model's own log-probabilities of the tokens, and of EOS where it is finished."""
    score: float
    """Score that ranks it among the hypotheses of its source; larger is better."""
    finished: bool
    """Whether it ended with EOS; false where it was cut at the longest output."""
    proven: bool | None = None
    """Whether no output is more probable; only exhaustive search knows."""
    attention: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Attention weights [length, source tokens + 1], where requested: a row per token, and one for
    EOS if it is finished; the last column is the EOS of the source."""

    @property
    def length(self) -> int:
        """Predictions that `log_prob` sums over: tokens, and EOS where it is finished."""
        return len(self.tokens) + self.finished
