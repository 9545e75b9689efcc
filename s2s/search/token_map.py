"""The tokens that the logits of a sentence stand for: all of the vocabulary, or a part of it.

Search numbers tokens as the scorer does. A scorer over a part of the vocabulary brings a token map,
which turns constraints into its numbers and hypotheses back into tokens.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.scorer import Scorer


class TokenMap(Protocol):
    """The vocabularies of the sentences of one queue. `key` names a sentence."""

    def scorer_for(
        self, keys: Sequence[int], source_ES: Tensor, wanted: Sequence[Sequence[int]]
    ) -> Scorer[Any, Any]:
        """Choose the tokens of sentences, which include the `wanted` ones, and return the scorer
        that encodes these sentences. `source` int64 [E, S] may have more rows than there are keys.
        """
        ...

    def scorer_of(self, key: int) -> Scorer[Any, Any]:
        """The scorer that encodes one sentence again, with the tokens it has."""
        ...

    def constraint(self, key: int, constraint: ConstraintSpec) -> ConstraintSpec:
        """The constraints of a sentence in its own numbers."""
        ...

    def restored(self, key: int, found: list[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses of a sentence in tokens of the vocabulary. The sentence is forgotten."""
        ...


@runtime_checkable
class HasTokenMap(Protocol):
    """A scorer over a part of the vocabulary."""

    def token_map(self) -> TokenMap:
        """A new map, for one queue."""
        ...


class AllTokens:
    """The map of a scorer over all of the vocabulary."""

    def __init__(self, scorer: Scorer[Any, Any]) -> None:
        self.scorer = scorer

    def scorer_for(
        self, keys: Sequence[int], source_ES: Tensor, wanted: Sequence[Sequence[int]]
    ) -> Scorer[Any, Any]:
        """See `TokenMap`."""
        return self.scorer

    def scorer_of(self, key: int) -> Scorer[Any, Any]:
        """See `TokenMap`."""
        return self.scorer

    def constraint(self, key: int, constraint: ConstraintSpec) -> ConstraintSpec:
        """See `TokenMap`."""
        return constraint

    def restored(self, key: int, found: list[Hypothesis]) -> list[Hypothesis]:
        """See `TokenMap`."""
        return found


def token_map_of(scorer: Scorer[Any, Any]) -> TokenMap:
    """The token map that a scorer brings, else that of all tokens."""
    return scorer.token_map() if isinstance(scorer, HasTokenMap) else AllTokens(scorer)
