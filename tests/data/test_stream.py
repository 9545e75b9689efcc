"""A corpus as one stream: windows are the sentences, end to end."""

import numpy as np
import pytest

from s2s.data.store import Corpus
from s2s.data.stream import Stream, StreamEpoch
from s2s.special import BOS, EOS

LENGTHS = [3, 0, 5, 1, 1, 7, 0, 0, 4, 2]


def corpus(lengths: list[int] = LENGTHS) -> Corpus:
    """A corpus whose targets are the numbers from 10 on."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.arange(10, 10 + offsets[-1], dtype=np.uint16)
    nothing = np.zeros(len(offsets), dtype=np.int64)
    return Corpus(np.zeros(0, dtype=np.uint16), nothing, values, offsets)


def joined(lengths: list[int] = LENGTHS) -> list[int]:
    """The stream, by a plain loop."""
    found, number = [], 10
    for length in lengths:
        found += [*range(number, number + length), EOS]
        number += length
    return found


def test_a_stream_has_every_token_and_the_end_of_every_sentence() -> None:
    stream = Stream(corpus())
    assert stream.tokens(np.arange(len(stream))).tolist() == joined()
    assert stream.tokens(np.array([-1])).tolist() == [EOS]


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
@pytest.mark.parametrize("window", [1, 4, 5, 1000])
def test_windows_side_by_side_are_the_rows_of_the_stream(rows: int, window: int) -> None:
    epoch = StreamEpoch(corpus(), rows, window)
    batches = list(epoch.batches())
    outputs_BT = np.concatenate([batch.target_output.numpy() for batch in batches], axis=1)
    inputs_BT = np.concatenate([batch.target_input.numpy() for batch in batches], axis=1)
    expected = joined()
    columns = len(expected) // rows
    assert outputs_BT.flatten().tolist() == expected[: rows * columns]
    before = [BOS if token == EOS else token for token in [EOS, *expected]]
    assert inputs_BT.flatten().tolist() == before[: rows * columns]
    assert {batch.target_output.shape[1] for batch in batches[:-1]} <= {window}
    tokens = [epoch.num_target_tokens(pairs) for pairs in epoch.plan]
    assert tokens == [batch.target_output.numel() for batch in batches]
    assert sum(tokens) == rows * columns


def test_a_stream_shorter_than_its_rows_is_read_in_fewer() -> None:
    epoch = StreamEpoch(corpus([1]), 20, 35)
    assert [batch.target_output.tolist() for batch in epoch.batches()] == [[[10], [EOS]]]


def test_some_rows_of_a_window_are_those_of_the_whole_one() -> None:
    epoch = StreamEpoch(corpus(), 3, 4)
    pairs = epoch.plan[1]
    whole, part = epoch.collate(pairs), epoch.collate(pairs[1:])
    assert part.target_output.tolist() == whole.target_output[1:].tolist()
