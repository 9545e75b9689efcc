"""A constraint on the output of one sentence: what every kind of them provides.

A kind has two classes, which stand side by side in the table of `s2s.search.constraints.kinds`: the
constraint of a sentence, and the state in which the hypotheses of a decoding batch are with theirs.

Dimension letters: B sentences (slots), K hypotheses per sentence, V vocabulary, R sentences that
enter.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Effect(IntEnum):
    """How constraints change decoding; sentences of different effects have batches of their own."""

    NONE = 0
    """Not at all: decoded as if there were no constraints."""
    RESTRICT = 1
    """Some tokens are not allowed at some steps."""
    GUIDE = 2
    """Search has to reach certain tokens: dynamic beam allocation (Post & Vilar 2018)."""


class Constraint(Protocol):
    """A constraint on the output of one sentence."""

    effect: ClassVar[Effect]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens that meeting it may take: a shortlist has to hold them."""
        ...

    def among(self, tokens: Sequence[int]) -> Self:
        """The constraint for a vocabulary of these tokens alone, numbered by their places."""
        ...

    def of_piece(self, number: int) -> Self | None:
        """The constraint on piece `number`, from 0, of a source that is cut into pieces."""
        ...

    def restrict_row(self, allowed_V: Tensor, logits_V: Tensor, prefix: Sequence[int]) -> None:
        """Restrict one hypothesis, in place; exhaustive search has one at a time.

        `logits` are the model's own after `prefix`, `allowed` what other constraints leave of them.
        """
        ...


class ConstraintStep(NamedTuple):
    """A decoding step, as constraints see it."""

    logits_BKV: Tensor
    """The model's own logits."""
    length_B: Tensor
    """int64, tokens of the live hypotheses."""
    is_last_B: Tensor
    """bool, whether an output is cut after the next token."""
    applies_B: Tensor
    """bool, whether a sentence has a constraint of this kind."""


C_contra = TypeVar("C_contra", bound=Constraint, contravariant=True)


class ConstraintState(Protocol[C_contra]):
    """Where the hypotheses of a decoding batch are with the constraints of one kind."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None: ...

    def put(self, slots: NDArray[np.int64], constraints: Sequence[C_contra]) -> None:
        """Sentences with these constraints enter the given slots [R]."""
        ...

    def restrict(self, allowed_BKV: Tensor, step: ConstraintStep) -> Tensor:
        """The allowed logits after the constraints; the argument may be overwritten."""
        ...

    def advance(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """Hypotheses `rows` were continued by `tokens`, int64 [B, K] each."""
        ...
