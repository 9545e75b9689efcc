"""What search finds: token ids and what they are worth, no tensors."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hypothesis:
    """One output for one source."""

    key: int
    """Which source: its place in the sequence that was searched."""
    tokens: tuple[int, ...]
    """The output without EOS."""
    log_prob: float
    """Sum of the model's own log-probabilities of the tokens, and of EOS where it is finished."""
    score: float
    """What ranks it among the hypotheses of its source; larger is better."""
    finished: bool
    """Whether it ended by itself; false where the longest output cut it."""
    proven: bool | None = None
    """Whether nothing more probable exists, which exhaustive search alone can say."""
    attention: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Weights [length, source tokens + 1], where asked for: a row per token and one for EOS where
    it is finished; the last column is the source's EOS."""

    @property
    def length(self) -> int:
        """Predictions that `log_prob` sums over: tokens, and EOS where it is finished."""
        return len(self.tokens) + self.finished
