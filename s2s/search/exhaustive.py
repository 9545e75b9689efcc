"""Exhaustive search: branch and bound over the tree of all outputs.

Log-probabilities are negative, so no completion of a prefix is more probable than the prefix. A
prefix no better than the best outputs so far is pruned; when no prefix is left, these outputs are
the most probable ones (Stahlberg & Byrne 2019, "On NMT search errors and model errors: cat got your
tongue?", section 2; there one prefix at a time, here a batch).

Dimension letters: N rows expanded together, V vocabulary, C children.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.nn.device import to_device
from s2s.recipe.search import ExhaustiveSearch
from s2s.search.bucketing import longest_output, shape_of
from s2s.search.constraints.kinds import KINDS
from s2s.search.constraints.logits import (
    LiveTokens,
    constrained,
    is_constrained,
    shortest_output,
    without_unknown,
)
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Inputs
from s2s.search.scorer import M, S, Scorer
from s2s.search.topk import digest
from s2s.special import BOS, EOS, PAD

Tokens = tuple[int, ...]


class ExhaustiveInput(NamedTuple):
    """The source and the settings of a search."""

    source: tuple[int, Inputs]
    """The number of the source, and all inputs."""
    settings: ExhaustiveSearch
    constraint: ConstraintSpec
    keep: int
    """Number of outputs that are kept."""


class Siblings(NamedTuple, Generic[S]):
    """Prefixes to expand, which are children of rows expanded together; worst first."""

    state: S
    """State after the parents, a row per parent."""
    parents: list[Tokens]
    """The prefix of each row of the state."""
    rows_C: NDArray[np.int64]
    tokens_C: NDArray[np.int64]
    totals_C: NDArray[np.float64]

    def cut(self, start: int, stop: int) -> "Siblings[S]":
        """The siblings from `start` to `stop`."""
        part = slice(start, stop)
        return self._replace(
            rows_C=self.rows_C[part], tokens_C=self.tokens_C[part], totals_C=self.totals_C[part]
        )

    def prefixes(self) -> list[Tokens]:
        """The tokens of each prefix; the root has none."""
        pairs = zip(self.rows_C.tolist(), self.tokens_C.tolist(), strict=True)
        return [(*self.parents[row], token) if token != BOS else () for row, token in pairs]


class BestOutputs:
    """The `keep` most probable finished outputs so far; among equal ones the first found."""

    def __init__(self, keep: int, incumbents: Sequence[Hypothesis]) -> None:
        self.keep = keep
        self.incumbents = incumbents
        self.found = {h.tokens: h.log_prob for h in incumbents if h.finished}

    @property
    def threshold(self) -> float:
        """The log-probability that a new output has to exceed."""
        if len(self.found) < self.keep:
            return -np.inf
        return sorted(self.found.values(), reverse=True)[self.keep - 1]

    def offer(self, tokens: Tokens, log_prob: float) -> None:
        """Add an output, and drop the worst where there are more than `keep`."""
        self.found.setdefault(tokens, log_prob)
        ranked = sorted(self.found.items(), key=lambda item: -item[1])
        self.found = dict(ranked[: self.keep])

    def hypotheses(self, key: int, proven: bool) -> list[Hypothesis]:
        """Best first; outputs that were cut follow where fewer than `keep` have ended."""
        ranked = sorted(self.found.items(), key=lambda item: -item[1])
        ended = [Hypothesis(key, t, p, p, finished=True, proven=proven) for t, p in ranked]
        cut = [replace(h, proven=False) for h in self.incumbents if not h.finished]
        return [*ended, *cut][: self.keep]


@torch.inference_mode()
def exhaust(
    scorer: Scorer[M, S], asked: ExhaustiveInput, device: str, *, incumbents: Sequence[Hypothesis]
) -> list[Hypothesis]:
    """The `keep` most probable of all outputs that end within the longest output, best first.

    Of those that meet the constraints of the search and of the sentence.

    Starts from the results of another search. `proven` says whether no better output exists, to the
    model's rounding; it is false where the search ended after `nodes` prefixes.
    """
    best = BestOutputs(asked.keep, incumbents)
    expander = Expander(scorer, asked, torch.device(device))
    stack = [expander.root()]
    budget = asked.settings.nodes
    while budget > 0 and (taken := _taken(stack, min(expander.rows, budget), best.threshold)):
        budget -= sum(len(part.rows_C) for part in taken)
        stack.append(expander.expand(taken, best))
    left = _taken(stack, 1, best.threshold)
    return best.hypotheses(incumbents[0].key, proven=not left)


def _taken(stack: list[Siblings[S]], most: int, threshold: float) -> list[Siblings[S]]:
    """Pop up to `most` prefixes above the threshold, deepest first, then best first."""
    taken: list[Siblings[S]] = []
    while most > 0 and stack:
        top = stack.pop()
        worst = int(np.searchsorted(top.totals_C, threshold, side="right"))
        end = len(top.totals_C)
        start = max(worst, end - most)
        if start < end:
            taken.append(top.cut(start, end))
            most -= end - start
        if worst < start:
            stack.append(top.cut(worst, start))
    return taken


class Expander(Generic[M, S]):
    """Expands prefixes of one sentence, always N rows at a time, so that shapes never change."""

    def __init__(
        self,
        scorer: Scorer[M, S],
        asked: ExhaustiveInput,
        device: torch.device,
    ) -> None:
        (key, inputs), settings = asked.source, asked.settings
        source, padded = inputs.sources[key], inputs.padded(key)
        regions = sum(padded[1:])
        self.scorer = scorer
        self.settings = settings
        self.constraint = asked.constraint
        self.rows = shape_of(padded[0], 1, settings, str(device), regions=regions).slots
        self.longest = longest_output(len(source), settings)
        self.shortest = shortest_output(len(source), settings)
        self.device = device
        text, length, features = inputs.encodable([key], padded, 1)
        more = ([one.to(str(device)) for one in features],) if features else ()
        self.memory = scorer.encode(to_device(text, device), to_device(length, device), *more)
        self.forbidden = to_device(torch.tensor([PAD, BOS]), device)

    def root(self) -> Siblings[S]:
        """The empty prefix."""
        start, zero = self.scorer.start(self.memory), np.zeros(1, dtype=np.int64)
        return Siblings(start, [()], zero, zero + BOS, np.zeros(1))

    def expand(self, taken: list[Siblings[S]], best: BestOutputs) -> Siblings[S]:
        """Offer the prefixes with EOS, and return their children that may lead to one of the
        best."""
        prefixes = [prefix for part in taken for prefix in part.prefixes()]
        totals_N = torch.full((self.rows,), -torch.inf, dtype=torch.float64)
        totals_N[: len(prefixes)] = torch.from_numpy(np.concatenate([p.totals_C for p in taken]))
        state, logits_NV, normalizer_N = self._step(taken)
        offsets_N = to_device(totals_N, self.device) - normalizer_N.double()
        logits_NV.index_fill_(1, self.forbidden, -torch.inf)
        allowed_NV = logits_NV
        if self.settings.suppress_unknown:
            allowed_NV = without_unknown(allowed_NV)
        if is_constrained(self.settings):
            allowed_NV = self._constrained(allowed_NV, normalizer_N, prefixes)
        logits_NV = self._restricted(allowed_NV, logits_NV, prefixes)
        totals_NV = logits_NV.double() + offsets_N.unsqueeze(-1)
        for prefix, end in zip(prefixes, totals_NV[:, EOS].tolist(), strict=False):
            if end > best.threshold:
                best.offer(prefix, end)
        totals_NV[:, EOS] = -torch.inf
        # A child needs room for EOS.
        is_full = to_device(
            torch.tensor([len(prefix) + 2 > self.longest for prefix in prefixes]), self.device
        )
        totals_NV[: len(prefixes)].masked_fill_(is_full.unsqueeze(1), -torch.inf)
        rows, tokens, totals_C = _above(totals_NV, best.threshold)
        order = np.lexsort((-tokens, -rows, totals_C))
        return Siblings(state, prefixes, rows[order], tokens[order], totals_C[order])

    def _constrained(
        self, logits_NV: Tensor, normalizer_N: Tensor, prefixes: list[Tokens]
    ) -> Tensor:
        """Logits constraints, with every prefix as a sentence, since lengths differ."""
        tokens_NH = torch.full((self.rows, self.longest), PAD)
        for row, prefix in enumerate(prefixes):
            tokens_NH[row, : len(prefix)] = torch.tensor(prefix, dtype=torch.int64)
        lengths = [len(prefix) for prefix in prefixes] + [0] * (self.rows - len(prefixes))
        length_N = to_device(torch.tensor(lengths), self.device)
        live_tokens = LiveTokens(
            to_device(tokens_NH.unsqueeze(1), self.device),
            length_N,
            torch.full_like(length_N, self.shortest),
        )
        logits_N1V, normalizer_N1 = logits_NV.unsqueeze(1), normalizer_N.unsqueeze(1)
        return constrained(logits_N1V, normalizer_N1, live_tokens, self.settings).squeeze(1)

    def _restricted(self, changed_NV: Tensor, own_NV: Tensor, prefixes: list[Tokens]) -> Tensor:
        """Apply the sentence's constraints to `changed`, in place; `own` are the model's."""
        kinds = [one for kind in KINDS if (one := self.constraint.of_kind(kind)) is not None]
        if kinds and changed_NV is own_NV:
            own_NV = own_NV.clone()
        for row, prefix in enumerate(prefixes):
            for one in kinds:
                one.restrict_row(changed_NV[row], own_NV[row], prefix)
        return changed_NV

    def _step(self, taken: list[Siblings[S]]) -> tuple[S, Tensor, Tensor]:
        """State after the prefixes, the logits of every continuation and their normalizers."""
        state = taken[0].state.select(torch.zeros(self.rows, dtype=torch.int64, device=self.device))
        tokens_N = torch.full((self.rows,), BOS, device=self.device)
        first = 0
        for part in taken:
            places = torch.arange(first, first + len(part.rows_C), device=self.device)
            chosen = to_device(torch.from_numpy(part.rows_C.copy()), self.device)
            state = state.put(places, part.state.select(chosen))
            tokens_N[places] = to_device(torch.from_numpy(part.tokens_C.copy()), self.device)
            first += len(part.rows_C)
        step = self.scorer.step(self.memory, state, tokens_N)
        return step.state, step.logits, digest(step.logits, step.normalizer).normalizer


def _above(
    totals_NV: Tensor, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, tokens and values of the totals above a threshold, on the host."""
    rows_C, tokens_C = torch.nonzero(totals_NV > threshold, as_tuple=True)
    # float64 represents ids exactly, so one copy to the host suffices.
    found = (rows_C.double(), tokens_C.double(), totals_NV[rows_C, tokens_C])
    rows, tokens, totals = torch.stack(found).cpu().numpy()
    return rows.astype(np.int64), tokens.astype(np.int64), totals
