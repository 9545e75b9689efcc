"""Terms that must appear: how far each hypothesis has come with them.

Whether a term has appeared is read off the text of the output, whatever tokens spell it; which
tokens bring a hypothesis nearer to it follows the tokenizer's own segmentation.

Dimension letters: Q states of an automaton, V vocabulary, n terms, E combinations of terms that one
token can complete, A tokens that advance a term, B sentences (slots), K hypotheses, J candidates.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.automaton import LETTER, Automaton, Spelling, Tables
from s2s.text.word_boundaries import joins

MOST_TERMS = 62
"""Different terms of a line: each is a bit of an integer."""

NO_TOKEN = -1


class Term(NamedTuple):
    """A term as text and as the tokenizer cuts it."""

    text: str
    """Single-spaced and not empty."""
    tokens: tuple[int, ...]


class PositiveConstraints:
    """Terms that must appear, each as often as it is given, compiled for a vocabulary."""

    def __init__(self, terms: Sequence[Term], spelling: Spelling) -> None:
        """At most `MOST_TERMS` of the terms are different."""
        counts = Counter(terms)
        self.terms = tuple(counts)
        self.need_n = np.array(list(counts.values()), dtype=np.int64)
        self._automaton = Automaton([term.text for term in self.terms])
        tables = Tables(self._automaton, spelling, [1 << i for i in range(len(self.terms))])
        self.next_QV = tables.next_QV
        self._combine(tables, spelling)
        self._gaps = [_has_gap(term, spelling) for term in self.terms]
        ends_n = [
            [1, *(end + 1 for end in _ends(term, spelling))] if gap else _ends(term, spelling)
            for term, gap in zip(self.terms, self._gaps, strict=True)
        ]
        self.size_n = np.array([len(ends) for ends in ends_n], dtype=np.int64)
        self.partial_Qn = np.array(
            [
                [
                    bisect_right(ends, self._automaton.progress(q, i))
                    for i, ends in enumerate(ends_n)
                ]
                for q in range(len(self.next_QV))
            ],
            dtype=np.int64,
        )
        self.advance_QA = self._advances(spelling)

    @property
    def total(self) -> int:
        """Tokens of all terms."""
        return int((self.need_n * self.size_n).sum())

    @property
    def tokens(self) -> list[int]:
        """Those that lead to the terms."""
        found: list[int] = np.unique(self.advance_QA[self.advance_QA != NO_TOKEN]).tolist()
        return found

    def among(self, tokens: Sequence[int]) -> "PositiveConstraints":
        """The same for a vocabulary of these tokens alone, which go by their places."""
        place = {token: place for place, token in enumerate(tokens)} | {NO_TOKEN: NO_TOKEN}
        part = copy(self)
        part.next_QV = self.next_QV[:, tokens]
        part.hit_QV = self.hit_QV[:, tokens]
        advance = [[place[token] for token in row] for row in self.advance_QA.tolist()]
        part.advance_QA = np.array(advance, dtype=np.int64).reshape(self.advance_QA.shape)
        return part

    def _read(self, state: int, term: int) -> int:
        """Characters of a term that have just been read, the space in front included if it has a
        token of its own."""
        count = self._automaton.progress(state, term)
        if not self._gaps[term]:
            return count
        return count + 1 if count or self._automaton.states[state].last != LETTER else 0

    def _combine(self, tables: Tables, spelling: Spelling) -> None:
        """Number what tokens, and the end, complete: how often each term."""
        found, number = np.unique(tables.met_QV, return_inverse=True)
        bits = sorted({0, *found.tolist(), *tables.ends_Q.tolist()})
        several = [[bit >> i & 1 for i in range(len(self.terms))] for bit in bits]
        place_of = {bit: place for place, bit in enumerate(bits)}
        places = np.array([place_of[bit] for bit in found.tolist()], dtype=np.int32)
        self.hit_QV = places[number].reshape(tables.met_QV.shape)
        self.ends_Q = np.array([place_of[bit] for bit in tables.ends_Q.tolist()], dtype=np.int64)
        for state, token in np.argwhere(tables.twice_QV).tolist():
            _, met = self._automaton.read(state, spelling.symbols(token, self._automaton.special))
            self.hit_QV[state, token] = len(several)
            several.append([met.count(i) for i in range(len(self.terms))])
        self.hits_En = np.array(several, dtype=np.int64).reshape(len(several), -1)

    def _advances(self, spelling: Spelling) -> NDArray[np.int64]:
        """Tokens of the terms that come nearer to one, by state."""
        tokens = [_tokens(term, spelling) for term in self.terms]
        rows: list[list[int]] = []
        for state in range(len(self.next_QV)):
            row: set[int] = set()
            for i, own in enumerate(tokens):
                before = self._read(state, i)
                for token in own:
                    after = self._read(int(self.next_QV[state, token]), i)
                    if after > before or self.hits_En[self.hit_QV[state, token], i]:
                        row.add(token)
            rows.append(sorted(row))
        width = max(map(len, rows))
        padded = [row + [NO_TOKEN] * (width - len(row)) for row in rows]
        return np.array(padded, dtype=np.int64).reshape(len(rows), width)


def _has_gap(term: Term, spelling: Spelling) -> bool:
    """Whether the space in front of a term has a token of its own, as where tokens are letters."""
    first = spelling.text(term.tokens[:1])
    return joins(term.text[0]) and first[:1] == term.text[0] and " " in spelling.token_of


def _ends(term: Term, spelling: Spelling) -> list[int]:
    """Characters of the term after each of its tokens that has some."""
    before = len(spelling.text(term.tokens)) - len(term.text)  # a space in front, as a rule
    ends: list[int] = []
    for count in range(1, len(term.tokens) + 1):
        end = len(spelling.text(term.tokens[:count])) - before
        if end > (ends[-1] if ends else 0):
            ends.append(end)
    return ends


def _tokens(term: Term, spelling: Spelling) -> set[int]:
    """Of the term's segmentation; where it needs no space in front, without that too."""
    tokens = set(term.tokens)
    if _has_gap(term, spelling):
        tokens.add(spelling.token_of[" "])
    first = spelling.text(term.tokens[:1])
    if first.startswith(" ") and not joins(term.text[0]):
        bare = spelling.token_of.get(first[1:])
        tokens |= set() if bare is None else {bare}
    return tokens


@dataclass(frozen=True)
class Stack:
    """Tables of several goals, one below the other; n and A are the largest of theirs."""

    next_QV: Tensor
    hit_QV: Tensor
    hits_En: Tensor
    ends_Q: Tensor
    partial_Qn: Tensor
    advance_QA: Tensor

    @classmethod
    def of(cls, positive: Sequence[PositiveConstraints], device: torch.device) -> "Stack":
        """The goals' tables."""
        first_e = np.cumsum([0, *(len(goal.hits_En) for goal in positive)])
        terms = max(1, *(len(goal.terms) for goal in positive))
        tokens = max(goal.advance_QA.shape[1] for goal in positive)
        parts = [
            (
                goal.next_QV,
                goal.hit_QV + np.int32(first),
                _wide(goal.hits_En, terms, 0),
                goal.ends_Q + first,
                _wide(goal.partial_Qn, terms, 0),
                _wide(goal.advance_QA, tokens, NO_TOKEN),
            )
            for goal, first in zip(positive, first_e.tolist(), strict=False)
        ]
        columns = zip(*parts, strict=True)
        tables = (torch.from_numpy(np.concatenate(column)) for column in columns)
        return cls(*(to_device(table, device) for table in tables))


def _wide(table: NDArray[np.int64], width: int, fill: int) -> NDArray[np.int64]:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=fill)


@dataclass(frozen=True)
class Standing:
    """How far hypotheses have come."""

    state: Tensor
    """int64 [B, J], states of their sentences' automata."""
    counts: Tensor
    """int64 [B, J, n], how often each term has appeared."""


class PositiveState:
    """Where the hypotheses of a block stand with the terms of their sentences."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None:
        self.device = device
        self.width = width
        self.positive: list[PositiveConstraints | None] = [None] * slots
        self.first_of: dict[PositiveConstraints, int] = {}
        self.stack: Stack | None = None
        self.first_B1 = torch.zeros(slots, 1, dtype=torch.int64, device=device)
        self.need_B1n = torch.zeros(slots, 1, 0, dtype=torch.int64, device=device)
        self.size_B1n = self.need_B1n
        self.total_B1 = self.first_B1
        self.most = 0  # the largest total: reading it would wait for the device
        self.is_last_B1 = torch.zeros(slots, 1, dtype=torch.bool, device=device)
        """Whether an output is cut behind the next token."""
        empty_BK = torch.zeros(slots, width, dtype=torch.int64, device=device)
        self.standing = Standing(empty_BK, empty_BK.unsqueeze(-1)[..., :0])

    def put(self, slots: NDArray[np.int64], positive: Sequence[PositiveConstraints]) -> None:
        """Sentences with these goals enter the given slots."""
        for slot, goal in zip(slots.tolist(), positive, strict=True):
            self.positive[slot] = goal
        if any(goal not in self.first_of for goal in positive):
            seated = list(dict.fromkeys(goal for goal in self.positive if goal is not None))
            heights = [len(goal.next_QV) for goal in seated]
            self.first_of = dict(zip(seated, np.cumsum([0, *heights]).tolist(), strict=False))
            self.stack = Stack.of(seated, self.device)
        assert self.stack is not None
        terms = self.stack.hits_En.shape[1]
        first, need, size, total = [], [], [], []
        for one in self.positive:
            spare = [0] * (terms - (0 if one is None else len(one.terms)))
            first.append(0 if one is None else self.first_of[one])
            need.append(spare if one is None else [*one.need_n.tolist(), *spare])
            size.append(spare if one is None else [*one.size_n.tolist(), *spare])
            total.append(0 if one is None else one.total)
        self.most = max(total)
        self.first_B1, self.need_B1n, self.size_B1n, self.total_B1 = (
            to_device(torch.tensor(column), self.device).unsqueeze(1)
            for column in (first, need, size, total)
        )
        state_BK, counts_BKn = self.standing.state.clone(), self.standing.counts
        widened_BKn = counts_BKn.new_zeros(*counts_BKn.shape[:2], terms)
        kept = min(terms, counts_BKn.shape[2])  # those of who still sits fit
        widened_BKn[..., :kept] = counts_BKn[..., :kept]
        # Who never sat in a slot reads along in the first table, which may be another now.
        empty = [slot for slot, goal in enumerate(self.positive) if goal is None]
        begun = to_device(torch.tensor([*empty, *slots.tolist()]), self.device)
        state_BK.index_fill_(0, begun, 0)
        widened_BKn.index_fill_(0, begun, 0)
        self.standing = Standing(state_BK, widened_BKn)

    def after(self, rows_BJ: Tensor, tokens_BJ: Tensor) -> Standing:
        """Where hypotheses `rows` stand when `tokens` continue them."""
        assert self.stack is not None
        before_BJ = self.standing.state.gather(1, rows_BJ) + self.first_B1
        hits_BJn = self.stack.hits_En[self.stack.hit_QV[before_BJ, tokens_BJ].long()]
        rows_BJn = rows_BJ.unsqueeze(-1).expand_as(hits_BJn)
        counts_BJn = self.standing.counts.gather(1, rows_BJn) + hits_BJn
        next_BJ = self.stack.next_QV[before_BJ, tokens_BJ].long()
        return Standing(next_BJ, torch.minimum(counts_BJn, self.need_B1n))

    def progress(self, standing: Standing) -> Tensor:
        """int64 [B, J], tokens of terms that have appeared, and of one that is being spelled."""
        assert self.stack is not None
        partial_BJn = self.stack.partial_Qn[standing.state + self.first_B1]
        is_open_BJn = standing.counts < self.need_B1n
        spelled_BJ = (partial_BJn * is_open_BJn).amax(-1)
        return (standing.counts * self.size_B1n).sum(-1) + spelled_BJ

    def may_end(self) -> Tensor:
        """bool [B, K], whether all terms will have appeared if a hypothesis ends now."""
        assert self.stack is not None
        ends_BK = self.stack.ends_Q[self.standing.state + self.first_B1]
        counts_BKn = self.standing.counts + self.stack.hits_En[ends_BK]
        return (counts_BKn >= self.need_B1n).all(-1)

    def completing(self) -> Tensor:
        """bool [B, K, V], tokens that show a term to have appeared."""
        assert self.stack is not None
        return self.stack.hit_QV[self.standing.state + self.first_B1] > self._none()

    def advancing(self) -> Tensor:
        """int64 [B, K, A], tokens of terms that come nearer to one, else `NO_TOKEN`."""
        assert self.stack is not None
        return self.stack.advance_QA[self.standing.state + self.first_B1]

    def _none(self) -> Tensor:
        """[B, 1, 1], the number of no term at all, which opens each goal's combinations."""
        assert self.stack is not None
        return self.stack.hit_QV[self.first_B1, 0].unsqueeze(-1)

    def note(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """Hypotheses `rows` were continued by `tokens`."""
        self.standing = self.after(rows_BK, tokens_BK)
