"""One step of a model, as search reads it.

Dimension letters: N rows, V vocabulary, S source time.
"""

from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

State = TypeVar("State")


class Step(NamedTuple, Generic[State]):
    """One step of a scorer over N rows."""

    logits: Tensor
    """float32 [N, V], unnormalized log-probabilities of the next token."""
    state: State
    """State after the tokens that were read."""
    attention: Tensor | None
    """float32 [N, S], weights over the source positions; None for a model without attention."""
