"""Negative lexical constraints: terms that must not appear in an output.

The tokens that complete a term depend on the tokens before them (Post & Vilar 2018 treat positive
constraints alike).

Dimension letters: Q states of an automaton, V vocabulary, B sentences (slots), K hypotheses, R
sentences that enter.
"""

from collections.abc import Sequence
from copy import copy
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.automaton import Automaton, Spelling, Tables
from s2s.search.constraints.base import ConstraintStep, Effect
from s2s.special import BOS, EOS, PAD
from s2s.text.word_boundaries import single_spaced

ANYWHERE, AT_THE_LIMIT = 1, 2
"""Bits of a token that is banned: always, or only where the output is cut after it."""


class NegativeConstraints:
    """Terms that must not appear, compiled for a vocabulary."""

    effect: ClassVar[Effect] = Effect.RESTRICT
    tokens: tuple[int, ...] = ()
    """None: what is not allowed need not be in a shortlist."""

    def __init__(self, terms: Sequence[str], spelling: Spelling) -> None:
        """Terms without characters are none. Raises DataError as `Automaton` does."""
        self.terms = tuple(sorted({t for t in map(single_spaced, terms) if t}))
        tables = Tables(Automaton(self.terms, spelling), spelling, [1] * len(self.terms))
        ends_badly_Q = tables.ends_Q != 0
        banned_QV = tables.met_QV != 0
        banned_QV |= _doomed(ends_badly_Q, banned_QV, tables.next_QV)[tables.next_QV]
        banned_QV[:, EOS] = ends_badly_Q
        flags_QV = banned_QV * np.uint8(ANYWHERE)
        flags_QV |= (banned_QV | ends_badly_Q[tables.next_QV]) * np.uint8(AT_THE_LIMIT)
        self.flags_QV: NDArray[np.uint8] = flags_QV
        self.next_QV = tables.next_QV

    def among(self, tokens: Sequence[int]) -> Self:
        """See `Constraint`."""
        part = copy(self)
        part.flags_QV = self.flags_QV[:, tokens]
        part.next_QV = self.next_QV[:, tokens]
        return part

    def of_piece(self, number: int) -> Self:
        """See `Constraint`: no piece may have a term."""
        return self

    def restrict_row(self, allowed_V: Tensor, logits_V: Tensor, prefix: Sequence[int]) -> None:
        """See `Constraint`."""
        banned_V = to_device(torch.from_numpy(self.banned_after(prefix)), allowed_V.device)
        allowed_V.masked_fill_(banned_V, -torch.inf)

    def banned_after(self, tokens: Sequence[int]) -> NDArray[np.bool_]:
        """bool [V], tokens that must not follow these."""
        state = 0
        for token in tokens:
            state = self.next_QV[state, token]
        banned_V: NDArray[np.bool_] = (self.flags_QV[state] & ANYWHERE) != 0
        return banned_V


def _doomed(
    ends_badly_Q: NDArray[np.bool_], banned_QV: NDArray[np.bool_], next_QV: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """States in which every continuation completes a term: a word that no token can extend."""
    open_QV = ~banned_QV
    open_QV[:, [PAD, BOS, EOS]] = False
    doomed_Q = ends_badly_Q
    while True:
        stuck_Q = doomed_Q.copy()
        rows = np.flatnonzero(doomed_Q)
        stuck_Q[rows] = ~(open_QV[rows] & ~doomed_Q[next_QV[rows]]).any(axis=1)
        if (stuck_Q == doomed_Q).all():
            return doomed_Q
        doomed_Q = stuck_Q


class NegativeState:
    """The automaton states of the hypotheses of a decoding batch."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None:
        self.device = device
        self.negative: list[NegativeConstraints | None] = [None] * slots
        self.at: dict[NegativeConstraints, int] = {}
        self.flags_QV = torch.zeros(0, 0, dtype=torch.uint8)
        self.next_QV = torch.zeros(0, 0, dtype=torch.int32)
        self.first_B = torch.zeros(slots, dtype=torch.int64, device=device)
        self.state_BK = torch.zeros(slots, width, dtype=torch.int64, device=device)

    def put(self, slots: NDArray[np.int64], constraints: Sequence[NegativeConstraints]) -> None:
        """See `ConstraintState`."""
        for slot, one in zip(slots.tolist(), constraints, strict=True):
            self.negative[slot] = one
        if any(one not in self.at for one in constraints):
            self._stack()
        firsts = [0 if one is None else self.at[one] for one in self.negative]
        self.first_B = to_device(torch.tensor(firsts), self.device)
        # Slots that were always empty read the first table, which may be another one now.
        empty = [slot for slot, one in enumerate(self.negative) if one is None]
        begun = to_device(torch.tensor([*empty, *slots.tolist()]), self.device)
        self.state_BK.index_fill_(0, begun, 0)

    def _stack(self) -> None:
        """Stack the tables of all constraints of the batch."""
        needed = list(dict.fromkeys(one for one in self.negative if one is not None))
        heights = [len(one.next_QV) for one in needed]
        self.at = dict(zip(needed, np.cumsum([0, *heights[:-1]]).tolist(), strict=True))
        flags_QV = np.concatenate([one.flags_QV for one in needed])
        next_QV = np.concatenate([one.next_QV for one in needed])
        self.flags_QV = to_device(torch.from_numpy(flags_QV), self.device)
        self.next_QV = to_device(torch.from_numpy(next_QV), self.device)

    def restrict(self, allowed_BKV: Tensor, step: ConstraintStep) -> Tensor:
        """See `ConstraintState`."""
        banned_BKV = self.banned(step.is_last_B)
        banned_BKV &= step.applies_B.view(-1, 1, 1)
        return allowed_BKV.masked_fill_(banned_BKV, -torch.inf)

    def banned(self, is_last_B: Tensor) -> Tensor:
        """bool [B, K, V], tokens that must not follow; `is_last_B`: the output is cut after
        them."""
        flags_BKV = self.flags_QV[self.state_BK + self.first_B.unsqueeze(1)]
        # `torch.where` would copy numbers from the host.
        bit_B = torch.full_like(is_last_B, ANYWHERE, dtype=torch.uint8)
        bit_B.masked_fill_(is_last_B, AT_THE_LIMIT)
        return (flags_BKV & bit_B.view(-1, 1, 1)) != 0

    def advance(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """See `ConstraintState`."""
        before_BK = self.state_BK.gather(1, rows_BK) + self.first_B.unsqueeze(1)
        self.state_BK = self.next_QV[before_BK, tokens_BK].long()
