"""The batch-size finder: before the first update, the largest batch that memory holds.

It computes and discards the gradients of the batches that need most memory, with twice as many
tokens each time. Before each step it extrapolates the last two peaks: on a GPU running out of
memory is an error that can be caught, but on a CPU the system may kill the process.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s2s.data.batches import collate, round_up
from s2s.data.store import Corpus
from s2s.nn.device import Precision
from s2s.recipe.recipe import Recipe
from s2s.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup, share
from s2s.training.memory_usage import PeakMemory, held_memory, whole_memory
from s2s.training.objective import Objective
from s2s.training.state import TrainingState
from s2s.training.update import Updater

START = 1024
"""Tokens of the first batch."""

LEAST_STEP = 1.05
"""Growth below which a larger batch is not tried."""

USABLE = {"cpu": 0.8, "cuda": 0.9}
"""Share of the memory that training may take: other batches have slightly higher peaks, and a CPU
runs other programs."""

UPDATES = 100
"""Minimum updates of an epoch with `batch_tokens: auto`. A batch that holds much of the corpus
leaves few updates, and each is hardly better."""

GRAIN = 64
"""`auto` finds a multiple of this."""


@dataclass(frozen=True)
class FoundBatchSize:
    """The result of the batch-size finder."""

    batch_tokens: int
    """Tokens of a batch over all processes: the recipe's, or the result of `auto`."""
    pass_tokens: int | None
    """Tokens that memory holds, where they are fewer; None if whole batches fit."""
    peak: int
    """Peak bytes of the largest pass that fitted; 0 if none did."""
    limit: int | None
    """Bytes that training may take; None where the system does not report them."""

    @property
    def memory(self) -> str:
        """A phrase for the user."""
        of_all = "" if self.limit is None else f" of {_gib(self.limit)}"
        tokens = self.pass_tokens or self.batch_tokens
        return f"batches of {tokens:,} tokens take up to {_gib(self.peak)}{of_all}"

    @property
    def warning(self) -> str | None:
        """A line for the user where whole batches do not fit."""
        if self.pass_tokens is None:
            return None
        return (
            f"memory is too small for batches of {self.batch_tokens:,} tokens: they are computed "
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
    """Find the batch size before the first update; the weights stay as they are.

    Padded lengths are multiples of `multiple`. A training that is resumed keeps the batch size that
    `auto` found when it began.
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
    """The batch size of a training that has ended."""
    return FoundBatchSize(_decided(state, recipe) or START, None, 0, None)


def _decided(state: TrainingState, recipe: Recipe) -> int:
    """Tokens of a batch; 0 before `auto` has found them."""
    if (stream := recipe.train.stream) is not None:
        return stream.rows * stream.window
    wanted = recipe.train.batch_tokens
    return state.position.batch_tokens or 0 if wanted == "auto" else wanted


def with_batch_tokens(recipe: Recipe, batch_tokens: int) -> Recipe:
    """The recipe with this number in place of `auto`."""
    return replace(recipe, train=replace(recipe.train, batch_tokens=batch_tokens))


class _BatchSizeFinder:
    """Forward and backward passes over the batches that need most memory."""

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
        """Tokens of the largest batch that fits."""
        self.peak = 0
        """Its peak in bytes."""
        self.growth = 0.0
        """Bytes a token, between the last two batches that fitted."""

    def grow(self, largest: int) -> int:
        """Tokens of the largest batch that fits, at most `largest`; 0 where none does."""
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
        """Peak bytes of batches of `tokens` tokens; None where memory ran out."""
        peak = PeakMemory(self.device)
        for pairs in self._heaviest(tokens):
            own = share(pairs, self.updater.group)
            if len(own) and not self.updater.fits(collate(self.corpus, own, self.multiple)):
                return None
        return peak.read() + self._future_moments()

    def _heaviest(self, tokens: int) -> Iterator[NDArray[np.int64]]:
        """Pairs of two batches: of the longest sentences, whose attention is largest, and of the
        median length, which has most target words."""
        for length in (int(self.lengths.max()), int(np.median(self.lengths))):
            rows = min(max(1, tokens // length), len(self.lengths))
            distance = np.abs(self.lengths - length)
            yield np.argpartition(distance, rows - 1)[:rows]

    def _future_moments(self) -> int:
        """Bytes of the optimizer's moments that its first step will allocate."""
        state = self.updater.state
        fresh = [p for p in state.trained.values() if p not in state.optimizer.state]
        return sum(2 * p.numel() * p.element_size() for p in fresh)


def _most_tokens(corpus: Corpus, accumulate: int) -> int:
    """The most tokens that `auto` chooses, however much memory there is."""
    tokens = np.maximum(corpus.memory_lengths, corpus.target_lengths).sum() + len(corpus)
    return max(START, int(tokens) // (UPDATES * accumulate))


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
