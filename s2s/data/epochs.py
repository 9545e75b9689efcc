"""The epochs of training: their pairs and batches.

Both are a function of (seed, epoch), so a resumed run continues exactly.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s2s.data.batches import BatchPlan, batch_plan, collate, num_target_tokens
from s2s.data.store import Corpus
from s2s.data.subword_sampling import SubwordSampler
from s2s.nn.batch import Batch
from s2s.recipe.recipe import Recipe
from s2s.recipe.training_parts import training_parts


@dataclass
class Epoch:
    """The batches of one epoch; `plan` has positions in `corpus`."""

    corpus: Corpus
    plan: BatchPlan

    def collate(self, pairs: NDArray[np.int64], multiple: int = 1) -> Batch:
        """The batch of some pairs; see `s2s.data.batches.collate`."""
        return collate(self.corpus, pairs, multiple)

    def num_target_tokens(self, pairs: NDArray[np.int64]) -> int:
        """Target tokens of some pairs, end of sentence included."""
        return num_target_tokens(self.corpus, pairs)


class Epochs:
    """The epochs of a training run, in any order."""

    def __init__(
        self,
        corpus: Corpus,
        recipe: Recipe,
        multiple: int,
        sampler: SubwordSampler | None = None,
    ) -> None:
        """Padded lengths are multiples of `multiple`. A `sampler` is closed with the epochs."""
        self._corpus = corpus
        self._sampler = sampler
        self._executor = ThreadPoolExecutor(1) if sampler else None
        self._pending: tuple[int, Future[Epoch]] | None = None
        self._last: tuple[int, Epoch] | None = None
        self._seed = recipe.seed
        self._batch_tokens = recipe.train.fixed_batch_tokens
        self._multiple = multiple
        self._weights = [part.weight for part in training_parts(recipe)]

    def __call__(self, epoch: int) -> Epoch:
        """The epoch of that number, from 0.

        Raises RunError if the disk refuses the encoding of a sampled epoch.
        """
        if self._pending is not None and self._pending[0] == epoch:
            self._last, self._pending = (epoch, self._pending[1].result()), None
        elif self._last is None or self._last[0] != epoch:
            if self._pending is not None:  # it writes into the sampler's folder
                self._pending[1].result()
            self._last = (epoch, self._make(epoch))
        return self._last[1]

    def prepare(self, epoch: int) -> None:
        """Start to make the next epoch in the background, if subwords are sampled."""
        if self._executor is not None and self._pending is None:
            self._pending = (epoch, self._executor.submit(self._make, epoch))

    def close(self) -> None:
        """Stop the epoch that is being made."""
        if self._sampler is not None and self._executor is not None:
            self._sampler.stop.set()
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._sampler.close()

    def _make(self, epoch: int) -> Epoch:
        rows = sampled_pairs(self._corpus.sizes, self._weights, seed=self._seed, epoch=epoch)
        if self._sampler is None:
            return Epoch(self._corpus, self._plan(self._corpus, rows, epoch))
        corpus = self._sampler.epoch(epoch, rows)
        return Epoch(corpus, self._plan(corpus, None, epoch))

    def _plan(self, corpus: Corpus, rows: NDArray[np.int64] | None, epoch: int) -> BatchPlan:
        lengths = (corpus.memory_lengths, corpus.target_lengths)
        if rows is not None:
            lengths = (lengths[0][rows], lengths[1][rows])
        plan = batch_plan(
            lengths, self._batch_tokens, seed=self._seed, epoch=epoch, multiple=self._multiple
        )
        return plan if rows is None else replace(plan, order=rows[plan.order])


def sampled_pairs(
    sizes: Sequence[int], weights: Sequence[float], *, seed: int, epoch: int
) -> NDArray[np.int64] | None:
    """The pairs of an epoch, int64, with repetitions; None for every pair once.

    Corpora of `sizes` pairs follow one another. Of a corpus of n pairs and weight w, an epoch takes
    the next round(w n), at least one, of an endless sequence of its random permutations: after any
    number of epochs, the counts of its pairs differ by one at most.
    """
    assert len(sizes) == len(weights), "the data belong to the recipe"
    if all(weight == 1.0 for weight in weights):
        return None
    starts = np.cumsum([0, *sizes])
    return np.concatenate(
        [
            start + _slice(size, max(1, round(weight * size)), epoch, (seed, corpus))
            for corpus, (start, size, weight) in enumerate(
                zip(starts[:-1], sizes, weights, strict=True)
            )
        ]
    )


def _slice(size: int, count: int, epoch: int, seed: tuple[int, int]) -> NDArray[np.int64]:
    """Positions epoch * count to (epoch + 1) * count of the permutations of `size` pairs."""
    begin, end = epoch * count, (epoch + 1) * count
    parts = []
    for order in range(begin // size, -(-end // size)):
        first, last = max(begin - order * size, 0), min(end - order * size, size)
        if (first, last) == (0, size):  # the order of a whole permutation does not matter
            parts.append(np.arange(size))
        else:
            random = np.random.default_rng([*seed, order, 1])  # batches use [seed, epoch]
            parts.append(random.permutation(size)[first:last])
    return np.concatenate(parts)
