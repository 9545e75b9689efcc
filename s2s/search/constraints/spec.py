"""The constraints of one sentence, beside those of the search, which apply to every output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from s2s.search.constraints.base import Constraint, Effect

T = TypeVar("T", bound=Constraint)


@dataclass(frozen=True)
class ConstraintSpec:
    """Constraints on the output of a sentence, at most one of each kind."""

    constraints: tuple[Constraint, ...] = ()
    pieces: tuple["ConstraintSpec", ...] = ()
    """Those of each piece of a source that is cut, where they are known; else they follow from the
    constraints of the whole."""

    @property
    def effect(self) -> Effect:
        """The strongest effect of them."""
        return max((one.effect for one in self.constraints), default=Effect.NONE)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens that meeting them may take: a shortlist has to hold them."""
        return tuple(token for one in self.constraints for token in one.tokens)

    def of_kind(self, kind: type[T]) -> T | None:
        """The constraint of a kind, if there is one."""
        return next((one for one in self.constraints if isinstance(one, kind)), None)

    def among(self, tokens: Sequence[int]) -> "ConstraintSpec":
        """The same where tokens go by their place in `tokens`, which holds all of `self.tokens`."""
        return ConstraintSpec(tuple(one.among(tokens) for one in self.constraints))

    def of_piece(self, number: int) -> "ConstraintSpec":
        """The constraints on piece `number`, from 0, of a source that is cut into pieces."""
        if self.pieces:
            return self.pieces[number]
        pieces = (one.of_piece(number) for one in self.constraints)
        return ConstraintSpec(tuple(one for one in pieces if one is not None))


UNCONSTRAINED = ConstraintSpec()
