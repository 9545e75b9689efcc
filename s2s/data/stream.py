"""The sentences of a corpus as one stream, read in windows side by side: for truncated
backpropagation through time (Williams & Peng 1990; Zaremba et al. 2014, section 4.1).

The stream is cut into rows of equal length, which are the rows of every batch; batch i has window i
of each. The state after a window is the first state of the next one.

Dimension letters: B rows, T time of a window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from s2s.data.batches import BatchPlan, no_sources
from s2s.data.epochs import Epoch
from s2s.data.store import Corpus
from s2s.nn.batch import Batch
from s2s.special import BOS, EOS


@dataclass(frozen=True)
class Stream:
    """All target sentences of a corpus in their order, each with its end."""

    corpus: Corpus

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """int64 [sentences + 1]: the place of each sentence's first token, and the end."""
        offsets = self.corpus.target_offsets
        return offsets + np.arange(len(offsets))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def tokens(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens at places of any shape; before the first one there is an end of sentence."""
        sentences = np.searchsorted(self.starts, places, side="right") - 1
        within = places - self.starts[sentences]
        is_end = (places < 0) | (within == self.corpus.target_lengths[sentences.clip(0)])
        values = self.corpus.target_values
        kept = self.corpus.target_offsets[sentences] + np.where(is_end, 0, within)
        found = values[kept.clip(0, max(0, len(values) - 1))].astype(np.int64)
        return np.where(is_end, EOS, found)


class StreamEpoch(Epoch):
    """The windows of an epoch, which are the same in all epochs; tokens at the end of the stream
    that make no column of all rows are left out."""

    def __init__(self, corpus: Corpus, rows: int, window: int) -> None:
        stream = Stream(corpus)
        rows = max(1, min(rows, len(stream)))
        columns = len(stream) // rows
        count = -(-columns // window)
        begins = np.arange(count, dtype=np.int64) * rows
        plan = BatchPlan(
            np.arange(count * rows, dtype=np.int64), begins, np.full(count, rows, dtype=np.int64)
        )
        super().__init__(corpus, plan)
        self.stream, self.rows, self.window, self.columns = stream, rows, window, columns

    def collate(self, pairs: NDArray[np.int64], multiple: int = 1) -> Batch:
        """The windows of some rows (int64 [B], numbers of the plan), without padding.

        An input is the token before; the end of a sentence is read as the begin of the next one.
        """
        first, last = self._span(pairs)
        rows_B1 = (pairs % self.rows)[:, None]
        places_BT = rows_B1 * self.columns + np.arange(first, last)
        output_BT = self.stream.tokens(places_BT)
        input_BT = self.stream.tokens(places_BT - 1)
        source_BS, lengths_B = no_sources(len(pairs))
        return Batch(
            source=torch.from_numpy(source_BS),
            source_lengths=torch.from_numpy(lengths_B),
            target_input=torch.from_numpy(np.where(input_BT == EOS, BOS, input_BT)),
            target_output=torch.from_numpy(output_BT),
            target_lengths=torch.full((len(pairs),), last - first),
        )

    def num_target_tokens(self, pairs: NDArray[np.int64]) -> int:
        """See `Epoch`."""
        first, last = self._span(pairs)
        return len(pairs) * (last - first)

    def batches(self) -> Iterator[Batch]:
        """All windows in order."""
        return map(self.collate, self.plan)

    def _span(self, pairs: NDArray[np.int64]) -> tuple[int, int]:
        """First and last column of a window."""
        first = int(pairs[0]) // self.rows * self.window
        return first, min(first + self.window, self.columns)


class StreamEpochs:
    """The epochs of a training on a stream."""

    def __init__(self, corpus: Corpus, rows: int, window: int) -> None:
        self._epoch = StreamEpoch(corpus, rows, window)

    def __call__(self, epoch: int) -> Epoch:
        """The epoch of that number, from 0."""
        return self._epoch

    def prepare(self, epoch: int) -> None:
        """Nothing needs to be prepared."""

    def close(self) -> None:
        """Nothing is open."""
