"""The one table of constraints."""

from typing import Any

from s2s.search.constraints.base import Constraint, ConstraintState
from s2s.search.constraints.negative import NegativeConstraints, NegativeState
from s2s.search.constraints.positive import PositiveConstraints, PositiveState
from s2s.search.constraints.prefix import PrefixConstraint, PrefixState

KINDS: dict[type[Constraint], type[ConstraintState[Any]]] = {
    NegativeConstraints: NegativeState,
    PositiveConstraints: PositiveState,
    PrefixConstraint: PrefixState,
}
"""Every kind of constraint and its state in a decoding batch, in the order in which they apply: a
prefix is last, as it overrides all others."""
