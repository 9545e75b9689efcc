"""Positive lexical constraints: terms that must appear (Hokamp & Liu 2017; Post & Vilar 2018).

Whether a term has appeared is read off the text of the output, so any tokens may spell it. The
tokens that advance a hypothesis towards a term are those of the tokenizer's own segmentation.

Dimension letters: Q states of an automaton, V vocabulary, n terms, E combinations of terms that one
token can complete, A tokens that advance a term, B sentences (slots), K hypotheses, J candidates.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.search.constraints.automaton import LETTER, Automaton, Spelling, Tables
from s2s.search.constraints.base import ConstraintStep, Effect
from s2s.special import EOS
from s2s.text.word_boundaries import joins

MOST_TERMS = 62
"""Most different terms of a line: each is a bit of an integer."""

NO_TOKEN = -1


class Term(NamedTuple):
    """A term as text and as the tokenizer cuts it."""

    text: str
    """Single-spaced and not empty."""
    tokens: tuple[int, ...]


class PositiveConstraints:
    """Terms that must appear, each as often as it is given, compiled for a vocabulary."""

    effect: ClassVar[Effect] = Effect.GUIDE

    def __init__(self, terms: Sequence[Term], spelling: Spelling) -> None:
        """At most `MOST_TERMS` of the terms are different. Raises DataError as `Automaton` does."""
        counts = Counter(terms)
        self.terms = tuple(counts)
        self.need_n = np.array(list(counts.values()), dtype=np.int64)
        self._automaton = Automaton([term.text for term in self.terms], spelling)
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
    def tokens(self) -> tuple[int, ...]:
        """Tokens that advance a hypothesis towards a term."""
        return tuple(np.unique(self.advance_QA[self.advance_QA != NO_TOKEN]).tolist())

    def among(self, tokens: Sequence[int]) -> Self:
        """See `Constraint`."""
        place = {token: place for place, token in enumerate(tokens)} | {NO_TOKEN: NO_TOKEN}
        part = copy(self)
        part.next_QV = self.next_QV[:, tokens]
        part.hit_QV = self.hit_QV[:, tokens]
        advance = [[place[token] for token in row] for row in self.advance_QA.tolist()]
        part.advance_QA = np.array(advance, dtype=np.int64).reshape(self.advance_QA.shape)
        return part

    def of_piece(self, number: int) -> Self | None:
        """See `Constraint`: the first piece has to have the terms."""
        return self if number == 0 else None

    def restrict_row(self, allowed_V: Tensor, logits_V: Tensor, prefix: Sequence[int]) -> None:
        """Raises AssertionError: only beam search looks for terms."""
        raise AssertionError("build_constrained_strategy refuses other searches")

    def _read(self, state: int, term: int) -> int:
        """Characters of a term that have just been read, with the space before it if that has a
        token of its own."""
        count = self._automaton.progress(state, term)
        if not self._gaps[term]:
            return count
        return count + 1 if count or self._automaton.states[state].last != LETTER else 0

    def _combine(self, tables: Tables, spelling: Spelling) -> None:
        """Number the combinations of terms that a token, or the end, completes."""
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
        """Tokens that advance a term, by state."""
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
class StackedTables:
    """The stacked tables of several sentences; n and A are their largest."""

    next_QV: Tensor
    hit_QV: Tensor
    hits_En: Tensor
    ends_Q: Tensor
    partial_Qn: Tensor
    advance_QA: Tensor

    @classmethod
    def of(cls, positive: Sequence[PositiveConstraints], device: torch.device) -> "StackedTables":
        """The tables of these constraints."""
        first_e = np.cumsum([0, *(len(one.hits_En) for one in positive)])
        terms = max(1, *(len(one.terms) for one in positive))
        tokens = max(one.advance_QA.shape[1] for one in positive)
        parts = [
            (
                one.next_QV,
                one.hit_QV + np.int32(first),
                _wide(one.hits_En, terms, 0),
                one.ends_Q + first,
                _wide(one.partial_Qn, terms, 0),
                _wide(one.advance_QA, tokens, NO_TOKEN),
            )
            for one, first in zip(positive, first_e.tolist(), strict=False)
        ]
        columns = zip(*parts, strict=True)
        tables = (torch.from_numpy(np.concatenate(column)) for column in columns)
        return cls(*(to_device(table, device) for table in tables))


def _wide(table: NDArray[np.int64], width: int, fill: int) -> NDArray[np.int64]:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=fill)


@dataclass(frozen=True)
class TermProgress:
    """The progress of hypotheses."""

    state: Tensor
    """int64 [B, J], states of their sentences' automata."""
    counts: Tensor
    """int64 [B, J, n], how often each term has appeared."""


class PositiveState:
    """The progress of the hypotheses of a decoding batch with the terms of their sentences."""

    def __init__(self, slots: int, width: int, device: torch.device) -> None:
        self.device = device
        self.width = width
        self.positive: list[PositiveConstraints | None] = [None] * slots
        self.first_of: dict[PositiveConstraints, int] = {}
        self.stack: StackedTables | None = None
        self.first_B1 = torch.zeros(slots, 1, dtype=torch.int64, device=device)
        self.need_B1n = torch.zeros(slots, 1, 0, dtype=torch.int64, device=device)
        self.size_B1n = self.need_B1n
        self.total_B1 = self.first_B1
        self.most = 0  # the largest total: reading it would wait for the device
        empty_BK = torch.zeros(slots, width, dtype=torch.int64, device=device)
        self.reached = TermProgress(empty_BK, empty_BK.unsqueeze(-1)[..., :0])

    def put(self, slots: NDArray[np.int64], positive: Sequence[PositiveConstraints]) -> None:
        """See `ConstraintState`."""
        for slot, one in zip(slots.tolist(), positive, strict=True):
            self.positive[slot] = one
        if any(one not in self.first_of for one in positive):
            present = list(dict.fromkeys(one for one in self.positive if one is not None))
            heights = [len(one.next_QV) for one in present]
            self.first_of = dict(zip(present, np.cumsum([0, *heights]).tolist(), strict=False))
            self.stack = StackedTables.of(present, self.device)
        assert self.stack is not None
        terms = self.stack.hits_En.shape[1]
        first, need, size, total = [], [], [], []
        for held in self.positive:
            spare = [0] * (terms - (0 if held is None else len(held.terms)))
            first.append(0 if held is None else self.first_of[held])
            need.append(spare if held is None else [*held.need_n.tolist(), *spare])
            size.append(spare if held is None else [*held.size_n.tolist(), *spare])
            total.append(0 if held is None else held.total)
        self.most = max(total)
        self.first_B1, self.need_B1n, self.size_B1n, self.total_B1 = (
            to_device(torch.tensor(column), self.device).unsqueeze(1)
            for column in (first, need, size, total)
        )
        state_BK, counts_BKn = self.reached.state.clone(), self.reached.counts
        widened_BKn = counts_BKn.new_zeros(*counts_BKn.shape[:2], terms)
        kept = min(terms, counts_BKn.shape[2])  # those of sentences that stay
        widened_BKn[..., :kept] = counts_BKn[..., :kept]
        # Slots that were always empty read the first table, which may be another one now.
        empty = [slot for slot, one in enumerate(self.positive) if one is None]
        begun = to_device(torch.tensor([*empty, *slots.tolist()]), self.device)
        state_BK.index_fill_(0, begun, 0)
        widened_BKn.index_fill_(0, begun, 0)
        self.reached = TermProgress(state_BK, widened_BKn)

    def after(self, rows_BJ: Tensor, tokens_BJ: Tensor) -> TermProgress:
        """The progress of hypotheses `rows` when `tokens` continue them."""
        assert self.stack is not None
        before_BJ = self.reached.state.gather(1, rows_BJ) + self.first_B1
        hits_BJn = self.stack.hits_En[self.stack.hit_QV[before_BJ, tokens_BJ].long()]
        rows_BJn = rows_BJ.unsqueeze(-1).expand_as(hits_BJn)
        counts_BJn = self.reached.counts.gather(1, rows_BJn) + hits_BJn
        next_BJ = self.stack.next_QV[before_BJ, tokens_BJ].long()
        return TermProgress(next_BJ, torch.minimum(counts_BJn, self.need_B1n))

    def progress(self, reached: TermProgress) -> Tensor:
        """int64 [B, J], tokens of terms that have appeared, and of a term that is being spelled."""
        assert self.stack is not None
        partial_BJn = self.stack.partial_Qn[reached.state + self.first_B1]
        is_open_BJn = reached.counts < self.need_B1n
        spelled_BJ = (partial_BJn * is_open_BJn).amax(-1)
        return (reached.counts * self.size_B1n).sum(-1) + spelled_BJ

    def restrict(self, allowed_BKV: Tensor, step: ConstraintStep) -> Tensor:
        """See `ConstraintState`. A hypothesis must not end before it has all terms."""
        is_incomplete_BK = ~self.may_end() & step.applies_B.unsqueeze(1)
        allowed_BKV[..., EOS].masked_fill_(is_incomplete_BK, -torch.inf)
        return allowed_BKV

    def may_end(self) -> Tensor:
        """bool [B, K], whether all terms will have appeared if a hypothesis ends now."""
        assert self.stack is not None
        ends_BK = self.stack.ends_Q[self.reached.state + self.first_B1]
        counts_BKn = self.reached.counts + self.stack.hits_En[ends_BK]
        return (counts_BKn >= self.need_B1n).all(-1)

    def completing(self) -> Tensor:
        """bool [B, K, V], tokens that show a term to have appeared."""
        assert self.stack is not None
        return self.stack.hit_QV[self.reached.state + self.first_B1] > self._none()

    def advancing(self) -> Tensor:
        """int64 [B, K, A], tokens that advance a term, else `NO_TOKEN`."""
        assert self.stack is not None
        return self.stack.advance_QA[self.reached.state + self.first_B1]

    def _none(self) -> Tensor:
        """[B, 1, 1], the number of the empty combination, the first of each sentence."""
        assert self.stack is not None
        return self.stack.hit_QV[self.first_B1, 0].unsqueeze(-1)

    def advance(self, rows_BK: Tensor, tokens_BK: Tensor) -> None:
        """See `ConstraintState`."""
        self.reached = self.after(rows_BK, tokens_BK)
