"""Before the first update: what the largest batches take of memory, and how large they may be.

Gradients of the batches that need most are computed and thrown away, of small ones first and of
twice as many tokens each time; before every step a line through the last two peaks says whether
memory will suffice. On a GPU running out of memory would be an error like others, but on a CPU the
system may end the process.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s2s.data.batches import collate, round_up
from s2s.data.store import Corpus
from s2s.nn.device import Precision
from s2s.recipe.recipe import Recipe
from s2s.train.distributed.process_group import SINGLE_PROCESS, ProcessGroup, share
from s2s.train.memory_usage import PeakMemory, held_memory, whole_memory
from s2s.train.objective import Objective
from s2s.train.state import TrainingState
from s2s.train.update import Updater

START = 1024
"""Tokens of the first batch."""

LEAST_STEP = 1.05
"""Growth below which a larger batch is not worth a try."""

USABLE = {"cpu": 0.8, "cuda": 0.9}
"""Share of the memory that training may take: peaks of other batches are a little higher, and on a
CPU there are other programs."""

UPDATES = 100
"""Updates of an epoch that `batch_tokens: auto` leaves at least. A batch that holds much of the
corpus makes few updates, and each of them hardly better."""

GRAIN = 64
"""What `auto` finds is a multiple of it."""


@dataclass(frozen=True)
class FoundBatchSize:
    """What was found."""

    batch_tokens: int
    """Of a batch, all processes together: the recipe's, or what `auto` comes to."""
    pass_tokens: int | None
    """Most that memory holds, where that is less; None if whole batches fit."""
    peak: int
    """Bytes at the most, of the largest pass that was tried; 0 if not even the first one fitted."""
    limit: int | None
    """Bytes that training may take; None where the system does not say."""

    @property
    def memory(self) -> str:
        """For the user."""
        of_all = "" if self.limit is None else f" of {_gib(self.limit)}"
        tokens = self.pass_tokens or self.batch_tokens
        return f"batches of {tokens:,} tokens take up to {_gib(self.peak)}{of_all}"

    @property
    def warning(self) -> str | None:
        """A line where whole batches do not fit."""
        if self.pass_tokens is None:
            return None
        return (
            f"memory does not suffice for batches of {self.batch_tokens:,} tokens: they are made "
            f"in parts of at most {self.pass_tokens:,}; the gradients are the same"
        )


def find_batch_size(
    state: TrainingState,
    objective: Objective,
    recipe: Recipe,
    corpus: Corpus,
    precision: Precision,
    *,
    multiple: int,
    group: ProcessGroup = SINGLE_PROCESS,
) -> FoundBatchSize:
    """Find out before the first update; the state stays as it is.

    Padded lengths are multiples of `multiple`. `auto` means what an earlier part of the training
    found, if there was one.
    """
    updater = Updater(state, objective, recipe.seed, precision, 1, group=group)
    finder = _BatchSizeFinder(updater, corpus, multiple)
    wanted = _decided(state, recipe)
    largest = wanted or _most_tokens(corpus, recipe.train.accumulate)
    fitting = min(group.all_gather(finder.grow(largest)))
    if not wanted:
        wanted = max(GRAIN, fitting // GRAIN * GRAIN)
        state.position.batch_tokens = wanted
    return FoundBatchSize(
        batch_tokens=wanted,
        pass_tokens=None if fitting >= wanted else max(1, fitting),
        peak=max(group.all_gather(finder.peak)),
        limit=finder.limit,
    )


def fixed_batch_size(state: TrainingState, recipe: Recipe) -> FoundBatchSize:
    """For a training that is over."""
    return FoundBatchSize(_decided(state, recipe) or START, None, 0, None)


def _decided(state: TrainingState, recipe: Recipe) -> int:
    """Tokens of a batch, 0 where `auto` has yet to find them."""
    wanted = recipe.train.batch_tokens
    return state.position.batch_tokens or 0 if wanted == "auto" else wanted


def with_batch_tokens(recipe: Recipe, batch_tokens: int) -> Recipe:
    """The recipe with this number in the place of `auto`."""
    return replace(recipe, train=replace(recipe.train, batch_tokens=batch_tokens))


class _BatchSizeFinder:
    """Passes over the batches that need most memory."""

    def __init__(self, updater: Updater, corpus: Corpus, multiple: int) -> None:
        self.updater = updater
        self.corpus = corpus
        self.multiple = multiple
        self.device = updater.device
        lengths = np.maximum(corpus.memory_lengths, corpus.target_lengths) + 1
        self.lengths: NDArray[np.int64] = round_up(lengths, multiple)
        whole = whole_memory(self.device, updater.group.local_world_size)
        self.limit = None if whole is None else int(USABLE[self.device.type] * whole)
        self.fitting = 0
        """Tokens of the largest batch that fitted."""
        self.peak = 0
        """Bytes that it took."""
        self.growth = 0.0
        """Bytes a token, between the last two that fitted."""

    def grow(self, largest: int) -> int:
        """Tokens of the largest batch that fits, at most `largest`; 0 where none was found."""
        size, failed = min(START, largest), None
        before = held_memory(self.device)
        while size:
            peak = self._peak(size)
            if peak is None:
                failed = size
            else:
                self.growth = (peak - before) / (size - self.fitting)
                self.fitting = size
                before = self.peak = peak
            size = self._next(largest, failed)
        return self.fitting

    def _next(self, largest: int, failed: int | None) -> int:
        """Tokens to try next, 0 for an end; `failed` did not fit."""
        most = largest if failed is None else (self.fitting + failed) // 2
        size = min(2 * self.fitting, most) if self.fitting else most
        if self.fitting and self.limit is not None and self.growth > 0:
            size = min(size, self.fitting + int((self.limit - self.peak) / self.growth))
        is_step = size >= max(GRAIN, LEAST_STEP * self.fitting)
        return size if is_step or self.fitting < size == largest else 0

    def _peak(self, tokens: int) -> int | None:
        """Bytes that batches of so many tokens take; None where memory did not suffice."""
        peak = PeakMemory(self.device)
        for pairs in self._heaviest(tokens):
            own = share(pairs, self.updater.group)
            if len(own) and not self.updater.fits(collate(self.corpus, own, self.multiple)):
                return None
        return peak.read() + self._still_to_come()

    def _heaviest(self, tokens: int) -> Iterator[NDArray[np.int64]]:
        """Pairs of the batch of the longest, whose attention is largest, and of one of the usual
        length, which is filled best with words."""
        for length in (int(self.lengths.max()), int(np.median(self.lengths))):
            rows = min(max(1, tokens // length), len(self.lengths))
            distance = np.abs(self.lengths - length)
            yield np.argpartition(distance, rows - 1)[:rows]

    def _still_to_come(self) -> int:
        """Bytes of what the optimizer will remember, before its first step."""
        state = self.updater.state
        fresh = [p for p in state.parameters.values() if p not in state.optimizer.state]
        return sum(2 * p.numel() * p.element_size() for p in fresh)


def _most_tokens(corpus: Corpus, accumulate: int) -> int:
    """What `auto` takes at most, however much memory there is."""
    tokens = np.maximum(corpus.memory_lengths, corpus.target_lengths).sum() + len(corpus)
    return max(START, int(tokens) // (UPDATES * accumulate))


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
