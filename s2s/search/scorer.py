"""The interface of a model in search: encode sources, start, step over tokens.

Dimension letters: B sentences, K hypotheses per sentence, N = B*K rows, V vocabulary,
S source time.
"""

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

from torch import Tensor

from s2s.nn.batch import Regions
from s2s.nn.step import Step

__all__ = ["Rows", "Scorer", "Step"]


class Rows(Protocol):
    """A bundle of tensors whose first dimension runs over rows (sentences or hypotheses)."""

    def select(self, rows: Tensor) -> Self:
        """Rows `rows` (int64 [M]) of self, in that order, as a new bundle."""
        ...

    def put(self, rows: Tensor, other: Self) -> Self:
        """Self with row `rows[i]` replaced by row i of `other`.

        The caller gives up self, so this may be done in place.
        """
        ...


M = TypeVar("M", bound=Rows)
S = TypeVar("S", bound=Rows)


class Scorer(Protocol[M, S]):
    """A model in search. Its rows never influence each other."""

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        ...

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = (), /) -> M:
        """Memory of B sentences; source int64 [B, S] padded with PAD, lengths int64 [B].

        `features` are their image features, if the model reads any; S is 0 if it reads no text.
        """
        ...

    def start(self, memory: M) -> S:
        """State before the first token, one row per sentence of the memory."""
        ...

    def step(self, memory: M, state: S, tokens: Tensor) -> Step[S]:
        """Read `tokens` (int64 [N]), N = B*K rows, the K rows of a sentence adjacent.

        The caller may overwrite the logits.
        """
        ...
