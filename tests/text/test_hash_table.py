"""The table of hashes against a dictionary."""

import numpy as np
import pytest

from s2s.text.hash_table import UNKNOWN, HashTable


@pytest.mark.parametrize("spread", [64, 12, 3])
def test_it_is_a_dictionary(spread: int) -> None:
    """Few different upper bits make all hashes look for the same slots."""
    random = np.random.default_rng(spread)
    table, known = HashTable(), dict[int, int]()
    upper = random.integers(0, 1 << min(spread, 63), 4000, dtype=np.uint64)
    every = np.unique((upper << np.uint64(64 - spread)) | np.arange(4000, dtype=np.uint64))
    random.shuffle(every)
    for part in np.array_split(every[: len(every) // 2], 13):
        for hash_ in part.tolist():
            known[hash_] = len(known)
        table.add(part)
        expected = [known.get(hash_, UNKNOWN) for hash_ in every.tolist()]
        assert table.find(every).tolist() == expected
    assert len(table) == len(known)


def test_nothing_is_in_an_empty_one() -> None:
    table, none = HashTable(), np.empty(0, dtype=np.uint64)
    assert table.find(np.zeros(3, dtype=np.uint64)).tolist() == [UNKNOWN] * 3
    table.add(none)
    assert table.find(none).tolist() == []
