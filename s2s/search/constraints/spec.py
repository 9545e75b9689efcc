"""What a line asks of its own output, beside what the search asks of every output."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints


@dataclass(frozen=True, kw_only=True)
class ConstraintSpec:
    """Demands of one line; the default demands nothing."""

    prefix: tuple[int, ...] = ()
    """Tokens the output begins with."""
    avoid: NegativeConstraints | None = None
    """Terms that must not appear."""
    must: PositiveConstraints | None = None
    """Terms that must appear; beam search alone looks for them."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens it takes to meet it: a shortlist has to hold them."""
        return self.prefix if self.must is None else (*self.prefix, *self.must.tokens)

    def among(self, tokens: Sequence[int]) -> "ConstraintSpec":
        """The same where tokens go by their place in `tokens`, which holds all of `self.tokens`."""
        place = {token: place for place, token in enumerate(tokens)}
        prefix = tuple(place[token] for token in self.prefix)
        avoid = None if self.avoid is None else self.avoid.among(tokens)
        must = None if self.must is None else self.must.among(tokens)
        return replace(self, prefix=prefix, avoid=avoid, must=must)

    def of_piece(self, number: int) -> "ConstraintSpec":
        """What piece `number` (from 0) of a source in several pieces has to meet."""
        return self if number == 0 else replace(self, prefix=(), must=None)


class ConstraintKind(IntEnum):
    """How much a demand binds; sentences of different bonds are decoded in different blocks."""

    FREE = 0
    """Not at all: decoded as if there were no demands."""
    BOUND = 1
    """Some tokens are out of the question at some steps."""
    DRIVEN = 2
    """There are tokens to be reached."""


FREE = ConstraintSpec()


def kind_of(constraint: ConstraintSpec) -> ConstraintKind:
    """What kind of block a sentence belongs into."""
    if constraint.must is not None:
        return ConstraintKind.DRIVEN
    return (
        ConstraintKind.BOUND
        if constraint.prefix or constraint.avoid is not None
        else ConstraintKind.FREE
    )
