"""The beam history on the host: back-pointers, and ended hypotheses, which it ranks.

Here the n best outputs of a sentence are chosen; strategies only say how an ended hypothesis
scores.

Dimension letters: B sentences (slots), K hypotheses per sentence, S source time, H steps kept.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.errors import S2sError, UsageError
from s2s.search.bucketing import Shape
from s2s.search.decoding_batch import Chosen
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Positions
from s2s.search.strategies.base import Strategy

Slots = NDArray[np.int64]


LEAST_COVERED = 1e-9
"""Keeps the coverage penalty finite."""


class Ended(NamedTuple):
    """A hypothesis that has ended or was cut."""

    score: float
    log_prob: float
    step: int
    """The step that ended it: that of EOS, or of its last token where it was cut."""
    row: int
    """Its row before that step if it is finished, after it if it was cut."""
    finished: bool


class BeamHistory:
    """The history of a decoding batch: a ring of H steps, enough for the longest output."""

    def __init__(self, strategy: Strategy, shape: Shape) -> None:
        self.strategy = strategy
        self.history = shape.history
        size = (shape.history, shape.slots, shape.width)
        self.rows_HBK = np.zeros(size, dtype=np.int32)
        self.tokens_HBK = np.zeros(size, dtype=np.int32)
        self.attention_HBKS: NDArray[np.float32] | None = None
        self.clock = 0
        self.key_B = np.full(shape.slots, -1)
        self.first_step_B = np.zeros(shape.slots, dtype=np.int64)
        self.positions: list[Positions | None] = [None] * shape.slots
        self.limit_B = np.ones(shape.slots, dtype=np.int64)
        self.settled_B = np.full(shape.slots, -np.inf)
        self.ended: list[list[Ended]] = [[] for _ in range(shape.slots)]

    @property
    def empty(self) -> Slots:
        """Slots without a sentence, ascending."""
        return np.flatnonzero(self.key_B < 0)

    def admit(self, slot: int, key: int, positions: Positions, limit: int) -> None:
        """Put source `key` into a slot; `limit` is its maximum number of predictions."""
        self.key_B[slot] = key
        self.first_step_B[slot] = self.clock
        self.positions[slot] = positions
        self.limit_B[slot] = limit
        self.settled_B[slot] = -np.inf
        self.ended[slot] = []

    def keep(self, slots: Slots) -> None:
        """Go on with the sentences of these slots alone, in slots 0, 1, ..."""
        self.rows_HBK, self.tokens_HBK = self.rows_HBK[:, slots], self.tokens_HBK[:, slots]
        if self.attention_HBKS is not None:
            self.attention_HBKS = self.attention_HBKS[:, slots]
        self.key_B, self.first_step_B = self.key_B[slots], self.first_step_B[slots]
        self.limit_B, self.settled_B = self.limit_B[slots], self.settled_B[slots]
        self.positions = [self.positions[slot] for slot in slots]
        self.ended = [self.ended[slot] for slot in slots]

    def record(self, chosen: Chosen) -> Slots:
        """Record a step; returns the slots whose sentence is done.

        Raises S2sError where probabilities are not numbers.
        """
        is_seated_B = self.key_B >= 0
        if np.isnan((chosen.totals + chosen.ended)[is_seated_B]).any():
            raise S2sError("the model predicts NaN: its weights are damaged or training diverged")
        self._keep(chosen)
        length_B = self.clock - self.first_step_B + 1
        is_last_B = length_B >= self.limit_B
        self._collect(chosen.ended, is_seated_B, length_B, finished=True)
        self._collect(chosen.totals, is_seated_B & is_last_B, length_B, finished=False)
        best_live_B = chosen.totals.max(axis=1)
        count_B = np.fromiter(map(len, self.ended), dtype=np.int64, count=len(self.ended))
        is_done_B = is_last_B | (best_live_B == -np.inf) | (count_B >= self.strategy.width)
        is_done_B |= self.settled_B >= self.strategy.bound(best_live_B, self.limit_B)
        self.clock += 1
        return np.flatnonzero(is_done_B & is_seated_B)

    def release(self, slot: int) -> list[Hypothesis]:
        """Remove a sentence and return its best hypotheses; samples keep their order.

        Hypotheses that were cut rank below finished ones; among equal scores the one that ended
        earlier ranks higher, then that of the lower row.
        """
        if self.strategy.is_sampling:
            ranked = sorted(self.ended[slot], key=lambda e: e.row)
        else:
            ranked = sorted(self.ended[slot], key=lambda e: (not e.finished, -e.score))
        best = self._distinct(slot, ranked)
        key = int(self.key_B[slot])
        self.key_B[slot] = -1
        return best or [Hypothesis(key, (), -np.inf, -np.inf, finished=False)]

    def _distinct(self, slot: int, ranked: list[Ended]) -> list[Hypothesis]:
        """The first `keep` hypotheses, without duplicates that several groups have found."""
        found: dict[object, Hypothesis] = {}
        for number, ended in enumerate(ranked):
            hypothesis = self._hypothesis(slot, ended)
            key = number if self.strategy.is_sampling else (hypothesis.tokens, hypothesis.finished)
            found.setdefault(key, hypothesis)
            if len(found) == self.strategy.keep:
                break
        return list(found.values())

    def _keep(self, chosen: Chosen) -> None:
        place = self.clock % self.history
        self.rows_HBK[place] = chosen.rows
        self.tokens_HBK[place] = chosen.tokens
        if chosen.attention is not None:
            if self.attention_HBKS is None:
                size = (self.history, *chosen.attention.shape)
                self.attention_HBKS = np.zeros(size, dtype=np.float32)
            self.attention_HBKS[place] = chosen.attention

    def _collect(
        self,
        log_probs_BK: NDArray[np.float64],
        may_B: NDArray[np.bool_],
        length_B: Slots,
        finished: bool,
    ) -> None:
        """Add the hypotheses above -inf of the allowed slots; update the `keep`-th best score."""
        slots, rows = np.nonzero((log_probs_BK > -np.inf) & may_B[:, None])
        if slots.size == 0:
            return
        log_probs = log_probs_BK[slots, rows]
        scores = self.strategy.score(log_probs, length_B[slots])
        if self.strategy.coverage_penalty > 0.0:
            scores = scores - self.strategy.coverage_penalty * self._uncovered(
                slots, rows, finished
            )
        columns = (scores.tolist(), log_probs.tolist(), slots.tolist(), rows.tolist())
        for score, log_prob, slot, row in zip(*columns, strict=True):
            self.ended[slot].append(Ended(score, log_prob, self.clock, row, finished))
        for slot in set(slots.tolist()):
            best = sorted((e.score for e in self.ended[slot] if e.finished), reverse=True)
            if len(best) >= self.strategy.keep:
                self.settled_B[slot] = best[self.strategy.keep - 1]

    def _uncovered(self, slots: Slots, rows: Slots, finished: bool) -> NDArray[np.float64]:
        """Coverage penalty of the hypotheses that end now: the sum over the source of -log(min(c,
        1)).

        c is the total attention of a word or region (Wu et al. 2016, section 7, where the sum is
        -cp); the EOS of the source is not a word. Attention of 0 counts as LEAST_COVERED.
        """
        if self.attention_HBKS is None:
            raise UsageError("a coverage penalty needs a model with attention")
        found = []
        for slot, row in zip(slots.tolist(), rows.tolist(), strict=True):
            _, looks = self._trace(slot, self.clock, row, finished)
            attention = self._attention(slot, looks)
            assert attention is not None
            positions = self.positions[slot]
            assert positions is not None
            covered_S = attention[:, positions.covered].sum(0, dtype=np.float64)
            found.append(-np.log(covered_S.clip(LEAST_COVERED, 1.0)).sum())
        return np.array(found)

    def _trace(
        self, slot: int, step: int, row: int, finished: bool
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Follow the back-pointers from the end: tokens, and (step, row) of each prediction."""
        tokens, looks = [], []
        if finished:
            looks.append((step, row))
            step -= 1
        while step >= self.first_step_B[slot]:
            place = step % self.history
            tokens.append(int(self.tokens_HBK[place, slot, row]))
            row = int(self.rows_HBK[place, slot, row])
            looks.append((step, row))
            step -= 1
        return tokens[::-1], looks[::-1]

    def _hypothesis(self, slot: int, ended: Ended) -> Hypothesis:
        tokens, looks = self._trace(slot, ended.step, ended.row, ended.finished)
        return Hypothesis(
            key=int(self.key_B[slot]),
            tokens=tuple(tokens),
            log_prob=ended.log_prob,
            score=ended.score,
            finished=ended.finished,
            attention=self._attention(slot, looks),
        )

    def _attention(self, slot: int, looks: list[tuple[int, int]]) -> NDArray[np.float32] | None:
        if self.attention_HBKS is None:
            return None
        steps, rows = np.array(looks).T
        positions = self.positions[slot]
        assert positions is not None
        found: NDArray[np.float32] = self.attention_HBKS[steps % self.history, slot, rows]
        return found[:, positions.all]
