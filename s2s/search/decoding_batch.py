"""A decoding batch: a fixed number of sentences that a scorer decodes together, each at its own
step.

Dimension letters: B sentences (slots), K hypotheses per sentence, N = B*K rows, V vocabulary,
S source time, R sentences that enter.
"""

from typing import Generic, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.nn.step import Step
from s2s.recipe.search import Search
from s2s.search.bucketing import Shape
from s2s.search.compaction import are_equal, is_known, remember
from s2s.search.constraints.batch_constraints import BatchConstraints
from s2s.search.constraints.logits import (
    LiveTokens,
    constrained,
    is_constrained,
    without_unknown,
)
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.inputs import Padded
from s2s.search.scorer import M, S, Scorer
from s2s.search.strategies.base import Choice, StepContext, Strategy
from s2s.search.topk import digest
from s2s.special import BOS, PAD, UNK

TESTED_FROM = 2
"""Fewest predictions of a sentence in the step that tests a smaller batch."""


class Chosen(NamedTuple):
    """A strategy's `Choice` for a decoding batch, on the host: [B, K] each."""

    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    totals: NDArray[np.float64]
    ended: NDArray[np.float64]
    attention: NDArray[np.float32] | None
    """[B, K, S], where requested: the attention of each hypothesis before this choice."""


class NewSentences(NamedTuple):
    """Facts about R sentences that enter a decoding batch."""

    places: list[int]
    """Their own numbers, for `StepContext`."""
    shortest: list[int]
    """Minimum tokens of their outputs."""
    longest: list[int]
    """Most predictions of their outputs, EOS included."""
    constraints: list[ConstraintSpec]
    """Their own constraints; empty ones in a batch without constraints."""


class DecodingBatch(Generic[M, S]):
    """Memory, state, last tokens and totals of the rows of a decoding batch, on the device.

    A step computes all rows, so that shapes never change; nobody reads the rows of a slot whose
    sentence is done.
    """

    def __init__(
        self,
        scorer: Scorer[M, S],
        strategy: Strategy,
        settings: Search,
        shape: Shape,
        device: torch.device,
        *,
        has_constraints: bool = False,
    ) -> None:
        """`has_constraints`: whether sentences have constraints of their own."""
        slots = shape.slots
        self.scorer = scorer
        self.strategy = strategy
        self.settings = settings
        self.slots = slots
        self.device = device
        self.memory: M | None = None
        self.state: S | None = None
        width = strategy.width
        self.tokens_BK = torch.full((slots, width), BOS, device=device)
        self.first_row_B1 = torch.arange(slots, device=device).unsqueeze(1) * width
        # A prefix with an unknown token is forced at the model's own logit of it.
        self.keeps_unknown_apart = settings.suppress_unknown and has_constraints
        is_never = settings.suppress_unknown and not has_constraints
        never = [PAD, BOS, UNK] if is_never else [PAD, BOS]
        self.forbidden = to_device(torch.tensor(never), device)
        self.place_B = torch.zeros(slots, dtype=torch.int64, device=device)
        self.length_B = torch.zeros(slots, dtype=torch.int64, device=device)
        self.ended_BK = torch.zeros(slots, width, dtype=torch.int64, device=device)
        self.least_B = torch.zeros(slots, dtype=torch.int64, device=device)
        self.history_BKH: Tensor | None = None
        if is_constrained(settings):
            self.history_BKH = torch.full((slots, width, shape.history), PAD, device=device)
        self.constraints: BatchConstraints | None = None
        if has_constraints:
            self.constraints = BatchConstraints(
                slots, width, device, is_sampling=strategy.is_sampling
            )
        self.fresh_K = torch.zeros(width, dtype=torch.float64, device=device)
        if not strategy.is_sampling:
            # Before the first token all hypotheses of a sentence are the same: only row 0 lives.
            self.fresh_K[1:] = -torch.inf
        # Also in slots that stay empty: rows with equal totals would be ties at every step.
        self.totals_BK = self.fresh_K.repeat(slots, 1)

    def put(
        self, slots: NDArray[np.int64], memory: M, state: S, first: int, sentences: NewSentences
    ) -> None:
        """Sentences `first` and following of an encoded batch enter the given slots [R]."""
        slots_R = to_device(torch.from_numpy(slots), self.device)
        taken_R = torch.arange(first, first + len(slots), device=self.device)
        rows_RK = self.first_row_B1[slots_R] + torch.arange(self.strategy.width, device=self.device)
        if self.memory is None or self.state is None:
            # Any sentence fills the slots that stay empty.
            any_B = taken_R[:1].expand(self.slots)
            self.memory = memory.select(any_B)
            self.state = state.select(any_B.repeat_interleave(self.strategy.width))
        self.memory = self.memory.put(slots_R, memory.select(taken_R))
        entering = state.select(taken_R.repeat_interleave(self.strategy.width))
        self.state = self.state.put(rows_RK.flatten(), entering)
        # Not `tokens[slots] = BOS`, which would copy the number to a GPU and wait for it.
        self.tokens_BK.index_fill_(0, slots_R, BOS)
        self.totals_BK[slots_R] = self.fresh_K
        self.place_B[slots_R] = to_device(torch.tensor(sentences.places), self.device)
        self.least_B[slots_R] = to_device(torch.tensor(sentences.shortest), self.device)
        self.length_B.index_fill_(0, slots_R, 0)
        self.ended_BK.index_fill_(0, slots_R, 0)
        if self.history_BKH is not None:
            self.history_BKH.index_fill_(0, slots_R, PAD)
        if self.constraints is not None:
            self.constraints.put(slots, sentences.constraints, sentences.longest)

    def keep(self, slots: NDArray[np.int64], padded: Padded) -> bool:
        """Go on with the sentences of these slots, ascending, alone: in slots 0, 1, ...

        Returns whether it did: without constraints, and where a step with fewer rows has the same
        bits as one with all (`s2s.search.compaction`). `padded` are the lengths of the sources. The
        test waits for the second step, as zeros in the first state would hide an order of sums.
        """
        assert self.memory is not None and self.state is not None
        width = self.strategy.width
        sizes = (self.slots, len(slots), width, padded, torch.get_num_threads())
        if self.constraints is not None or is_known(self.scorer, sizes) is False:
            return False
        slots_M = torch.from_numpy(slots)
        rows_M = (self.first_row_B1[slots_M] + torch.arange(width)).flatten()
        memory, state = self.memory.select(slots_M), self.state.select(rows_M)
        tokens_MK = self.tokens_BK[slots_M]
        if is_known(self.scorer, sizes) is None:
            if int(self.length_B[slots_M].min()) < TESTED_FROM:
                return False
            whole = self.scorer.step(self.memory, self.state, self.tokens_BK.flatten())
            part = self.scorer.step(memory, state, tokens_MK.flatten())
            is_equal = are_equal(_digested(whole), rows_M, _digested(part))
            remember(self.scorer, sizes, is_equal=is_equal)
            if not is_equal:
                return False
        self.memory, self.state, self.tokens_BK = memory, state, tokens_MK
        self.slots = len(slots)
        self.first_row_B1 = self.first_row_B1[: self.slots]
        self.totals_BK, self.ended_BK = self.totals_BK[slots_M], self.ended_BK[slots_M]
        self.place_B, self.length_B = self.place_B[slots_M], self.length_B[slots_M]
        self.least_B = self.least_B[slots_M]
        if self.history_BKH is not None:
            self.history_BKH = self.history_BKH[slots_M]
        return True

    def step(self, want_attention: bool) -> Chosen:
        """Predict a token for every row; waits for the device once, to copy the choice to the
        host."""
        assert self.memory is not None and self.state is not None
        step = self.scorer.step(self.memory, self.state, self.tokens_BK.flatten())
        logits_BKV = step.logits.view(self.slots, self.strategy.width, -1)
        normalizer_BK, maxima_BKC = digest(logits_BKV, step.normalizer)
        offsets_BK = self.totals_BK - normalizer_BK.double()
        logits_BKV.index_fill_(-1, self.forbidden, -torch.inf)
        context = StepContext(self.place_B, self.length_B, self.ended_BK, self.constraints)
        if self.constraints is not None:
            context = context._replace(is_last_B=self.constraints.is_last(self.length_B))
        if self.history_BKH is None and self.constraints is None:
            context = context._replace(maxima_BKC=maxima_BKC)
            choice = self.strategy.choose(logits_BKV, offsets_BK, context)
        else:
            allowed_BKV = self._allowed(logits_BKV, normalizer_BK)
            choice = self.strategy.choose(allowed_BKV, offsets_BK, context)
            choice = self._advanced(choice, logits_BKV, offsets_BK)
        self.tokens_BK, self.totals_BK = choice.tokens, choice.totals
        self.length_B += 1
        self.ended_BK += choice.ended > -torch.inf
        if self.strategy.width == 1 or self.strategy.is_sampling:
            self.state = step.state
        else:
            self.state = step.state.select((choice.rows + self.first_row_B1).flatten())
        # float64 holds ids exactly, so one tensor, and one copy, carries all four.
        ids_BK = choice.rows.double(), choice.tokens.double()
        rows, tokens, totals, ended = torch.stack((*ids_BK, choice.totals, choice.ended)).cpu()
        return Chosen(
            rows.long().numpy(),
            tokens.long().numpy(),
            totals.numpy(),
            ended.numpy(),
            self._on_host(step.attention) if want_attention else None,
        )

    def _allowed(self, logits_BKV: Tensor, normalizer_BK: Tensor) -> Tensor:
        """A copy of the logits that constraints leave to the strategy."""
        own_BKV = logits_BKV
        if self.keeps_unknown_apart:
            own_BKV = without_unknown(logits_BKV)
        if self.history_BKH is None:
            allowed_BKV = own_BKV.clone()
        else:
            live_tokens = LiveTokens(self.history_BKH, self.length_B, self.least_B)
            allowed_BKV = constrained(own_BKV, normalizer_BK, live_tokens, self.settings)
        if self.constraints is not None:
            is_live_BK = self.totals_BK > -torch.inf
            allowed_BKV = self.constraints.restricted(
                allowed_BKV, logits_BKV, self.length_B, is_live_BK
            )
        return allowed_BKV

    def _advanced(self, choice: Choice, logits_BKV: Tensor, offsets_BK: Tensor) -> Choice:
        """The choice with totals by the model's own logits; its tokens extend the history."""
        place_BK = choice.rows * logits_BKV.shape[-1] + choice.tokens
        chosen_BK = logits_BKV.flatten(1).gather(-1, place_BK).double()
        totals_BK = offsets_BK.gather(-1, choice.rows) + chosen_BK
        totals_BK = totals_BK.masked_fill(choice.totals == -torch.inf, -torch.inf)
        if self.history_BKH is not None:
            self.history_BKH = self._longer(self.history_BKH, choice)
        if self.constraints is not None:
            self.constraints.advance(choice.rows, choice.tokens)
        return choice._replace(totals=totals_BK)

    def _longer(self, history_BKH: Tensor, choice: Choice) -> Tensor:
        """The history of the chosen hypotheses."""
        rows_BKH = choice.rows.unsqueeze(-1).expand_as(history_BKH)
        place_BK1 = self.length_B.clamp(max=history_BKH.shape[-1] - 1).view(-1, 1, 1)
        return history_BKH.gather(1, rows_BKH).scatter(
            -1, place_BK1.expand(-1, history_BKH.shape[1], 1), choice.tokens.unsqueeze(-1)
        )

    def _on_host(self, attention: Tensor | None) -> NDArray[np.float32] | None:
        if attention is None:
            return None
        weights: NDArray[np.float32] = (
            attention.float().view(self.slots, self.strategy.width, -1).cpu().numpy()
        )
        return weights


def _digested(step: Step[S]) -> Step[S]:
    """A step with the normalizer that search subtracts."""
    return step._replace(normalizer=digest(step.logits, step.normalizer).normalizer)
