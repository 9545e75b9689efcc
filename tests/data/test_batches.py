"""Batches have each pair once, respect their budget, and equal those of plain Python."""

import numpy as np
import pytest
from numpy.typing import NDArray

from s2s.data import batches
from s2s.data.batches import BatchPlan, batch_plan, collate, collate_sources, round_up
from s2s.data.store import Corpus
from s2s.special import BOS, EOS, PAD

Lengths = tuple[NDArray[np.int64], NDArray[np.int64]]


def lengths_of(count: int, longest: int = 40) -> Lengths:
    random = np.random.default_rng(count)
    source = random.integers(0, longest, count)
    return source, np.maximum(0, source + random.integers(-3, 4, count))


def corpus_of(rows: list[tuple[list[int], list[int]]]) -> Corpus:
    arrays = []
    for side in (0, 1):
        values = np.array([t for row in rows for t in row[side]], dtype=np.uint16)
        arrays += [values, np.cumsum([0] + [len(row[side]) for row in rows])]
    return Corpus(*arrays)


def as_lists(plan: BatchPlan) -> list[list[int]]:
    return [batch.tolist() for batch in plan]


@pytest.mark.parametrize("count", [0, 1, 2, 777])
@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("budget", [16, 300])
def test_each_pair_once_and_within_budget(count: int, multiple: int, budget: int) -> None:
    lengths = lengths_of(count)
    plan = batch_plan(lengths, budget, seed=1, epoch=0, multiple=multiple)
    assert sorted(pair for batch in as_lists(plan) for pair in batch) == list(range(count))
    assert len(plan) == len(as_lists(plan))
    for batch in plan:
        longest = max(round_up(side[batch].max() + 1, multiple) for side in lengths)
        assert len(batch) == 1 or len(batch) * longest <= budget


def test_a_large_corpus_is_planned_shard_by_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SHARD", 250)
    plan = batch_plan(lengths_of(777), 300, seed=1, epoch=0)
    assert sorted(pair for batch in as_lists(plan) for pair in batch) == list(range(777))
    shards = [{pair // 250 for pair in batch} for batch in as_lists(plan)]
    assert {len(one) for one in shards} == {1}
    order = [one.pop() for one in shards]
    assert set(order) == {0, 1, 2, 3}
    assert order != sorted(order)
    assert len(plan) < 1.1 * len(batch_plan(lengths_of(777), 300, seed=1, epoch=0)) + 4


def test_batches_are_filled_greedily() -> None:
    """No batch has room for the first pair of the next one."""
    lengths = lengths_of(500)
    plan = batch_plan(lengths, 200, seed=1, epoch=0)
    sizes = [len(batch) * max(s[batch].max() + 1 for s in lengths) for batch in plan]
    assert np.mean(sizes) > 0.8 * 200


def test_rows_are_whole_blocks() -> None:
    lengths = lengths_of(9_001)
    sizes = [len(batch) for batch in batch_plan(lengths, 1_000, seed=1, epoch=0)]
    large = [size for size in sizes if size > 48]
    assert len(large) > 20
    assert sum(size % 16 != 0 for size in large) == 0
    assert len({size % 16 for size in sizes}) > 5  # small ones are as they come


def test_a_plan_is_a_function_of_seed_and_epoch() -> None:
    lengths = lengths_of(777)
    first = as_lists(batch_plan(lengths, 300, seed=1, epoch=0))
    assert as_lists(batch_plan(lengths, 300, seed=1, epoch=0)) == first
    for seed, epoch in ((1, 1), (2, 0)):
        other = as_lists(batch_plan(lengths, 300, seed=seed, epoch=epoch))
        # Not the same batches in another order: most have another composition.
        composition = {frozenset(batch) for batch in first}
        assert sum(frozenset(batch) in composition for batch in other) < len(first) / 10


def test_batches_come_in_random_order_of_length() -> None:
    source, target = lengths_of(5000)
    means = [target[batch].mean() for batch in batch_plan((source, target), 300, seed=1, epoch=0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


def test_little_is_padding() -> None:
    lengths = lengths_of(29_000)
    plan = batch_plan(lengths, 2000, seed=1, epoch=0)
    for side in lengths:
        cells = sum(len(batch) * (side[batch].max() + 1) for batch in plan)
        assert (side + 1).sum() > 0.9 * cells


def test_a_batch_beyond_the_last_is_an_error() -> None:
    plan = batch_plan(lengths_of(5), 300, seed=1, epoch=0)
    for index in (-1, len(plan)):
        with pytest.raises(IndexError):
            plan[index]


@pytest.mark.parametrize("multiple", [1, 4])
def test_collate_equals_plain_python(multiple: int) -> None:
    random = np.random.default_rng(1)
    rows = [
        (random.integers(4, 99, s).tolist(), random.integers(4, 99, t).tolist())
        for s, t in zip(*lengths_of(60, 11), strict=True)
    ]
    corpus = corpus_of(rows)
    for pairs in (np.arange(60), np.array([7]), random.permutation(60)[:13], np.array([3, 3])):
        batch = collate(corpus, pairs, multiple)
        source = [rows[i][0] + [EOS] for i in pairs]
        target = [rows[i][1] for i in pairs]
        for found, expected in (
            (batch.source, source),
            (batch.target_input, [[BOS, *row] for row in target]),
            (batch.target_output, [[*row, EOS] for row in target]),
        ):
            width = -(-max(map(len, expected)) // multiple) * multiple
            assert found.tolist() == [row + [PAD] * (width - len(row)) for row in expected]
        assert batch.source_lengths.tolist() == [len(row) for row in source]
        assert batch.target_lengths.tolist() == [len(row) + 1 for row in target]


def test_collate_widens_narrow_ids() -> None:
    rows = [([65_535], []), ([], [65_534, 4])]
    batch = collate(corpus_of(rows), np.array([1, 0]))
    assert batch.source.tolist() == [[EOS, PAD], [65_535, EOS]]
    assert batch.target_output.tolist() == [[65_534, 4, EOS], [EOS, PAD, PAD]]
    assert batch.source.dtype == batch.target_input.dtype == batch.source_lengths.dtype
    assert str(batch.source.dtype) == "torch.int64"


@pytest.mark.parametrize(
    ("sources", "multiple", "expected", "lengths"),
    [
        ([[]], 1, [[EOS]], [1]),
        ([[], [5, 6]], 1, [[EOS, PAD, PAD], [5, 6, EOS]], [1, 3]),
        ([[7, 8]], 4, [[7, 8, EOS, PAD]], [3]),
        ([[7, 8, 9]], 4, [[7, 8, 9, EOS]], [4]),
    ],
)
def test_collate_sources(
    sources: list[list[int]], multiple: int, expected: list[list[int]], lengths: list[int]
) -> None:
    padded, found = collate_sources(sources, multiple)
    assert padded.tolist() == expected
    assert found.tolist() == lengths
