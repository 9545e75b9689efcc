"""Plans the batches of an epoch and collates them.

Dimension letters: B sentences, S source time, T target time. All functions compute on the flat
arrays of the store, without Python loops over tokens or rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.data.store import Corpus, Ids
from s2s.nn.batch import Batch, Predicted, Regions
from s2s.special import BOS, EOS, PAD
from s2s.text.arrays import ranges

Lengths = NDArray[np.int64]

JITTER = 0.1
"""Lengths are increased by a random share up to this one before sorting, so that batches differ
between epochs; a larger one mixes more and pads more."""

SHARD = 1 << 18
"""Adjacent pairs that are sorted together: the memory to sort does not grow with the corpus, and so
many pairs have enough of any length."""

ROW_MULTIPLE = 16
"""Batches of at least 48 pairs have a multiple of this. oneDNN divides an LSTM's batch into equal
blocks and takes more than three times as long for 61, 113 or 146 rows, which have no suitable
divisor; up to 48 rows are one block."""
ONE_BLOCK = 48


@dataclass(frozen=True)
class BatchPlan:
    """The batches of one epoch, in the order of training; every pair is in exactly one."""

    order: NDArray[np.int64]
    """int64 [pairs]: all pairs, those of a batch adjacent."""
    begins: NDArray[np.int64]
    """int64 [batches]: the start of each batch in `order`."""
    sizes: NDArray[np.int64]
    """int64 [batches]: the number of its pairs."""

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, batch: int) -> NDArray[np.int64]:
        """int64 [B]: the pairs of a batch."""
        if not 0 <= batch < len(self):
            raise IndexError(f"batch {batch} of {len(self)}")
        begin = self.begins[batch]
        return self.order[begin : begin + self.sizes[batch]]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return (self[batch] for batch in range(len(self)))


def batch_plan(
    lengths: tuple[Lengths, Lengths],
    batch_tokens: int,
    *,
    seed: int,
    epoch: int,
    multiple: int = 1,
) -> BatchPlan:
    """Batches of pairs of similar length, in random order: a pure function of its arguments.

    `lengths` are the source's (`Corpus.memory_lengths`) and target's, int64 [pairs] without end of
    sentence. In each batch, B times the padded source length and B times the padded target length
    (end of sentence included, rounded up to a multiple of `multiple`) are at most `batch_tokens`; a
    pair longer than that makes a batch of its own. B is a multiple of `ROW_MULTIPLE` from
    `ONE_BLOCK` pairs on.

    Apart from the result, 8 bytes a pair, memory does not grow with the number of pairs.
    """
    random = np.random.default_rng([seed, epoch])
    order = np.empty(len(lengths[0]), dtype=np.int64)
    ends = [np.zeros(1, dtype=np.int64)]
    for first in range(0, len(order), SHARD):
        source, target = (side[first : first + SHARD] + 1 for side in lengths)
        by_length = _sorted_by_length(source, target, random)
        padded = round_up(np.maximum(source, target)[by_length], multiple)
        order[first : first + SHARD] = first + by_length
        ends.append(first + _fill(padded, batch_tokens)[1:])
    starts = np.concatenate(ends)
    shuffled = random.permutation(len(starts) - 1)
    return BatchPlan(order, starts[:-1][shuffled], np.diff(starts)[shuffled])


def collate(corpus: Corpus, pairs: NDArray[np.int64], multiple: int = 1) -> Batch:
    """The batch of these pairs (int64 [B]), in this order; both times are padded up to a multiple
    of `multiple`."""
    features, rows_NF = corpus.features, corpus.rows_NF
    regions: tuple[Regions, ...] = ()
    if features is not None and rows_NF is not None:
        regions = features.gather(rows_NF[pairs])
    if features is None or features.has_text:
        source_BS, source_lengths = _padded(
            corpus.source_values, corpus.source_offsets, pairs, multiple
        )
    else:
        source_BS, source_lengths = no_sources(len(pairs))
    target_BT, target_lengths = _padded(
        corpus.target_values, corpus.target_offsets, pairs, multiple
    )
    input_BT = np.full_like(target_BT, PAD)
    input_BT[:, 0] = BOS
    input_BT[:, 1:] = np.where(target_BT[:, :-1] == EOS, PAD, target_BT[:, :-1])
    alignment = None
    if corpus.alignment is not None:
        times = (target_BT.shape[1], source_BS.shape[1])
        alignment = torch.from_numpy(corpus.alignment.dense(pairs, times))
    return Batch(
        source=torch.from_numpy(source_BS),
        source_lengths=torch.from_numpy(source_lengths),
        target_input=torch.from_numpy(input_BT),
        target_output=torch.from_numpy(target_BT),
        target_lengths=torch.from_numpy(target_lengths),
        features=regions,
        teacher=_predicted(corpus, pairs, target_lengths, target_BT.shape[1]),
        alignment=alignment,
        places=torch.from_numpy(pairs if corpus.places is None else corpus.places[pairs]),
    )


def _predicted(
    corpus: Corpus, pairs: NDArray[np.int64], lengths: Lengths, time: int
) -> Predicted | None:
    """What teachers predict for these pairs, whose targets have `lengths`, padded to `time`."""
    if corpus.teacher is None:
        return None
    found = corpus.teacher.gather(corpus.target_offsets[pairs] + pairs, lengths, time)
    return Predicted(*map(torch.from_numpy, found))


def no_sources(count: int) -> tuple[NDArray[np.int64], Lengths]:
    """Sources without text, int64 [B, 0], and their lengths."""
    return np.zeros((count, 0), dtype=np.int64), np.zeros(count, dtype=np.int64)


def num_target_tokens(corpus: Corpus, pairs: NDArray[np.int64]) -> int:
    """Target tokens of these pairs (int64 [B]), end of sentence included."""
    offsets = corpus.target_offsets
    return int((offsets[pairs + 1] - offsets[pairs]).sum()) + len(pairs)


def collate_sources(sources: Sequence[Sequence[int]], multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Sources for a search: int64 [B, S] with end of sentence and padding, lengths int64 [B] with
    end of sentence.

    `sources` has at least one row; rows may be empty.
    """
    lengths = np.fromiter(map(len, sources), np.int64, len(sources))
    values = np.fromiter(chain.from_iterable(sources), np.int64, int(lengths.sum()))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source_BS, with_end = _padded(values, offsets, np.arange(len(sources)), multiple)
    return torch.from_numpy(source_BS), torch.from_numpy(with_end)


def round_up(length: Any, multiple: int) -> Any:
    """The next multiple of `multiple`, for a number or an array."""
    return -(-length // multiple) * multiple


def _sorted_by_length(source: Lengths, target: Lengths, random: np.random.Generator) -> Lengths:
    """Pairs in the order of randomized target length, then of randomized source length."""
    noisy_target = np.floor(target * (1 + JITTER * random.random(len(target))))
    noisy_source = source * (1 + JITTER * random.random(len(source)))
    # Alternately up and down: the last batch of one target length and the first of the next then
    # have similar source lengths.
    direction = 1 - 2 * (noisy_target % 2)
    # One key: the term of the source stays below 1/2, so it only orders pairs of one target length.
    key = noisy_target + direction * noisy_source / (2.5 * source.max(initial=1))
    order: Lengths = np.argsort(key)
    return order


def _fill(padded: Lengths, batch_tokens: int) -> Lengths:
    """The starts of greedily filled batches and the end of the last; tokens: rows times longest."""
    starts, begin, total = [0], 0, len(padded)
    while begin < total:
        most = max(1, batch_tokens // int(padded[begin]))
        longest = np.maximum.accumulate(padded[begin : begin + most])
        tokens = longest * np.arange(1, len(longest) + 1)
        fit = max(1, int(np.searchsorted(tokens, batch_tokens, side="right")))
        begin += fit if fit < ONE_BLOCK else fit - fit % ROW_MULTIPLE
        starts.append(begin)
    return np.asarray(starts, dtype=np.int64)


def _padded(
    values: Ids, offsets: Lengths, rows: Lengths, multiple: int
) -> tuple[NDArray[np.int64], Lengths]:
    """Rows with end of sentence and padding, int64 [B, time], and lengths with end of sentence."""
    begins = offsets[rows]
    lengths = offsets[rows + 1] - begins
    time = int(round_up(lengths.max(initial=0) + 1, multiple))
    padded = np.full((len(rows), time), PAD, dtype=np.int64)
    padded[np.arange(time) < lengths[:, None]] = values[ranges(begins, lengths)]
    padded[np.arange(len(rows)), lengths] = EOS
    return padded, lengths + 1
