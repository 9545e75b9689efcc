"""Terms that must not appear: which tokens complete one, after whatever was said before.

Dimension letters: Q states of an automaton, V vocabulary, B sentences (slots), K hypotheses, R
sentences that enter.
"""

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.automaton import Automaton, Spelling, Tables
from s2s.special import BOS, EOS, PAD
from s2s.text.word_boundaries import single_spaced

ANYWHERE, AT_THE_LIMIT = 1, 2
"""Bits of a token that is banned: always, or only where the output is cut behind it."""


class NegativeConstraints:
    """Terms that must not appear, compiled for a vocabulary."""

    def __init__(self, terms: Sequence[str], spelling: Spelling) -> None:
        """Terms without characters are none."""
        self.terms = tuple(sorted({t for t in map(single_spaced, terms) if t}))
        tables = Tables(Automaton(self.terms), spelling, [1] * len(self.terms))
        ends_badly_Q = tables.ends_Q != 0
        banned_QV = tables.met_QV != 0
        banned_QV |= _doomed(ends_badly_Q, banned_QV, tables.next_QV)[tables.next_QV]
        banned_QV[:, EOS] = ends_badly_Q
        flags_QV = banned_QV * np.uint8(ANYWHERE)
        flags_QV |= (banned_QV | ends_badly_Q[tables.next_QV]) * np.uint8(AT_THE_LIMIT)
        self.flags_QV: NDArray[np.uint8] = flags_QV
        self.next_QV = tables.next_QV

    def among(self, tokens: Sequence[int]) -> "NegativeConstraints":
        """The same for a vocabulary of these tokens alone, which go by their places."""
        part = copy(self)
        part.flags_QV = self.flags_QV[:, tokens]
        part.next_QV = self.next_QV[:, tokens]
        return part

    def banned_after(self, tokens: Sequence[int]) -> NDArray[np.bool_]:
        """bool [V], what must not come behind these tokens."""
        state = 0
        for token in tokens:
            state = self.next_QV[state, token]
        banned_V: NDArray[np.bool_] = (self.flags_QV[state] & ANYWHERE) != 0
        return banned_V


def _doomed(
    ends_badly_Q: NDArray[np.bool_], banned_QV: NDArray[np.bool_], next_QV: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """States from which every way on completes a term: a word that no token can make longer."""
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
    """Where the hypotheses of a block stand in the bans of their sentences."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None:
        self.device = device
        self.negative: list[NegativeConstraints | None] = [None] * slots
        self.at: dict[NegativeConstraints, int] = {}
        self.flags_QV = torch.zeros(0, 0, dtype=torch.uint8)
        self.next_QV = torch.zeros(0, 0, dtype=torch.int32)
        self.first_B = torch.zeros(slots, dtype=torch.int64, device=device)
        self.state_BK = torch.zeros(slots, width, dtype=torch.int64, device=device)

    def put(self, slots: NDArray[np.int64], negative: Sequence[NegativeConstraints]) -> None:
        """Sentences with these bans enter the given slots [R]."""
        for slot, ban in zip(slots.tolist(), negative, strict=True):
            self.negative[slot] = ban
        if any(ban not in self.at for ban in negative):
            self._stack()
        firsts = [0 if ban is None else self.at[ban] for ban in self.negative]
        self.first_B = to_device(torch.tensor(firsts), self.device)
        # Who never sat in a slot reads along in the first table, which may be another now.
        empty = [slot for slot, ban in enumerate(self.negative) if ban is None]
        begun = to_device(torch.tensor([*empty, *slots.tolist()]), self.device)
        self.state_BK.index_fill_(0, begun, 0)

    def _stack(self) -> None:
        """The tables of all that sit in the block, one below the other."""
        needed = list(dict.fromkeys(ban for ban in self.negative if ban is not None))
        heights = [len(ban.next_QV) for ban in needed]
        self.at = dict(zip(needed, np.cumsum([0, *heights[:-1]]).tolist(), strict=True))
        flags_QV = np.concatenate([ban.flags_QV for ban in needed])
        next_QV = np.concatenate([ban.next_QV for ban in needed])
        self.flags_QV = to_device(torch.from_numpy(flags_QV), self.device)
        self.next_QV = to_device(torch.from_numpy(next_QV), self.device)

    def banned(self, is_last_B: Tensor) -> Tensor:
        """bool [B, K, V], what must not come next; `is_last_B` says who is cut behind it."""
        flags_BKV = self.flags_QV[self.state_BK + self.first_B.unsqueeze(1)]
        # Of numbers `torch.where` would make tensors of the host first.
        bit_B = torch.full_like(is_last_B, ANYWHERE, dtype=torch.uint8)
        bit_B.masked_fill_(is_last_B, AT_THE_LIMIT)
        return (flags_BKV & bit_B.view(-1, 1, 1)) != 0

    def note(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """Hypotheses `rows` were continued by `tokens`."""
        before_BK = self.state_BK.gather(1, rows_BK) + self.first_B.unsqueeze(1)
        self.state_BK = self.next_QV[before_BK, tokens_BK].long()
