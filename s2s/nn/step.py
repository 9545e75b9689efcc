"""The output of one step of a model, for search.

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
    """The state after the input tokens."""
    attention: Tensor | None
    """float32 [N, S], weights over the source positions; None for a model without attention."""
    normalizer: Tensor | None = None
    """float32 [N], what search subtracts from the logits; None for their log sum exp, so that the
    probabilities of all tokens sum to one."""
