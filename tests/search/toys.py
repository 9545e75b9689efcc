"""Small deterministic scorers, and search as a book would write it: lists, one row at a time.

Dimension letters: B sentences, N rows, D state width, V vocabulary, S source time.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from s2s.nn.row_state import TensorRows
from s2s.nn.step import Step
from s2s.recipe.search import BeamSearch
from s2s.search.bucketing import longest_output
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.scorer import Scorer
from s2s.special import BOS, EOS, PAD


@dataclass(frozen=True)
class Numbers(TensorRows):
    """One tensor with a row per sentence or hypothesis."""

    x: Tensor
    """[rows, D]."""


class RecurrentToy:
    """A random recurrent network that reads the source as one vector; attends at random weights."""

    def __init__(self, vocabulary: int, seed: int, sharpness: float = 6.0, width: int = 7) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.vocabulary = vocabulary
        self.embedding_VD = torch.randn(256, width, generator=generator)
        self.output_DV = torch.randn(width, vocabulary, generator=generator) * sharpness / width
        self.recurrence_DD = torch.randn(width, width, generator=generator)
        self.places_DS = torch.randn(width, 512, generator=generator)
        self.time = 0
        self.encodings: list[tuple[int, ...]] = []
        self.steps: list[int] = []

    def encode(self, source: Tensor, lengths: Tensor) -> Numbers:
        self.encodings.append(tuple(source.shape))
        self.time = source.shape[1]
        assert torch.equal((source != PAD).sum(1), lengths)
        x_BSD = self.embedding_VD[source % 256] * (source != PAD).unsqueeze(-1)
        places_S1 = torch.arange(1, source.shape[1] + 1).unsqueeze(1)
        return Numbers((x_BSD * torch.cos(places_S1)).sum(1))

    def start(self, memory: Numbers) -> Numbers:
        return Numbers(torch.tanh(memory.x))

    def step(self, memory: Numbers, state: Numbers, tokens: Tensor) -> Step[Numbers]:
        self.steps.append(len(tokens))
        source_ND = memory.x.repeat_interleave(len(tokens) // len(memory.x), dim=0)
        mixed_ND = state.x @ self.recurrence_DD + self.embedding_VD[tokens] + source_ND
        new_ND = torch.tanh(mixed_ND)
        weights_NS = (new_ND @ self.places_DS[:, : self.time]).softmax(-1)
        return Step(new_ND @ self.output_DV, Numbers(new_ND), weights_NS)


class TiedToy:
    """Every token as probable as any other at every step: all is decided by the tie rule."""

    def __init__(self, vocabulary: int, end: float = 0.0) -> None:
        self.vocabulary = vocabulary
        self.end = end

    def encode(self, source: Tensor, lengths: Tensor) -> Numbers:
        return Numbers(lengths.unsqueeze(1).double())

    def start(self, memory: Numbers) -> Numbers:
        return Numbers(torch.zeros_like(memory.x))

    def step(self, memory: Numbers, state: Numbers, tokens: Tensor) -> Step[Numbers]:
        logits_NV = torch.zeros(len(tokens), self.vocabulary)
        logits_NV[:, EOS] = self.end
        return Step(logits_NV, state, None)


AnyScorer = Scorer[Any, Any]
Found = tuple[float, tuple[int, ...], float, bool]
"""Score, tokens, log-probability, finished."""


def log_probs(scorer: AnyScorer, source: list[int], prefix: tuple[int, ...]) -> list[float]:
    """Log-probabilities of what follows a prefix, computed from the start, without PAD and BOS."""
    with torch.inference_mode():
        memory = scorer.encode(torch.tensor([[*source, EOS]]), torch.tensor([len(source) + 1]))
        state = scorer.start(memory)
        for token in (BOS, *prefix):
            step = scorer.step(memory, state, torch.tensor([token]))
            state = step.state
        logits_V = step.logits[0].double()
        known = step.normalizer
        normalizer = logits_V.logsumexp(-1) if known is None else known[0].double()
        found: list[float] = (logits_V - normalizer).tolist()
    found[PAD] = found[BOS] = -math.inf
    return found


def rescored(scorer: AnyScorer, source: list[int], tokens: tuple[int, ...], end: bool) -> float:
    """Sum of log-probabilities of given tokens, step by step."""
    wanted = (*tokens, EOS) if end else tokens
    return sum(log_probs(scorer, source, wanted[:i])[t] for i, t in enumerate(wanted))


def ranked(found: list[Found]) -> list[Found]:
    return sorted(found, key=lambda f: (not f[3], -f[0]))


def brute_force(scorer: AnyScorer, source: list[int], settings: BeamSearch) -> list[Found]:
    """All outputs, best first, by enumeration."""
    limit = longest_output(len(source), settings)
    ordinary = [v for v in range(scorer.vocabulary) if v not in (PAD, BOS, EOS)]
    found = []
    for length in range(limit + 1):
        for tokens in itertools.product(ordinary, repeat=length):
            finished = length < limit
            log_prob = rescored(scorer, source, tokens, finished)
            score = log_prob / (length + finished) ** settings.length_penalty
            found.append((score, tokens, log_prob, finished))
    return ranked(found)


def plain_beam(
    scorer: AnyScorer, source: list[int], settings: BeamSearch, begin: tuple[int, ...] = ()
) -> list[Found]:
    """Beam search on lists from tokens given, without the early stop that loses nothing."""
    live = [(rescored(scorer, source, begin, end=False), begin)]
    found: list[Found] = []
    limit = longest_output(len(source), settings)
    for length in range(len(begin) + 1, limit + 1):
        grown = []
        for row, (total, prefix) in enumerate(live):
            following = log_probs(scorer, source, prefix)
            for token, log_prob in enumerate(following):
                if log_prob > -math.inf:
                    grown.append((-(total + log_prob), token != EOS, row, token))
        grown.sort()
        for value, is_other, row, _ in grown[: settings.width]:
            if not is_other:
                score = -value / length**settings.length_penalty
                found.append((score, live[row][1], -value, True))
        others = [(value, row, token) for value, is_other, row, token in grown if is_other]
        best = others[: settings.width]
        live = [(-value, (*live[row][1], token)) for value, row, token in best]
        if len(found) >= settings.width:
            return ranked(found)
    cut = [(t / limit**settings.length_penalty, tokens, t, False) for t, tokens in live]
    return ranked(found + cut)


def spec_of(
    prefix: tuple[int, ...] = (),
    avoid: NegativeConstraints | None = None,
    must: PositiveConstraints | None = None,
) -> ConstraintSpec:
    """The constraints that are given."""
    return ConstraintSpec(
        (
            *([] if avoid is None else [avoid]),
            *([] if must is None else [must]),
            *([PrefixConstraint(prefix)] if prefix else []),
        )
    )
