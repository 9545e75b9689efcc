"""Answers in the order of the items, from any number of threads; errors where they are due."""

import threading
import time
from collections.abc import Iterator

import pytest

from s2s.data import map_in_order as module
from s2s.data.map_in_order import map_in_order, num_threads


def slow_first(number: int) -> int:
    """Later items are done sooner."""
    time.sleep(0.002 * (number % 5 == 0))
    return number * number


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_answers_are_in_the_order_of_the_items(threads: int, count: int) -> None:
    found = list(map_in_order(slow_first, iter(range(count)), threads))
    assert found == [number * number for number in range(count)]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_items_comes_after_the_answers_before_it(threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(7)
        raise ValueError("line 8")

    found = []
    with pytest.raises(ValueError, match="line 8"):
        for answer in map_in_order(slow_first, items(), threads):
            found.append(answer)
    assert found == [number * number for number in range(7)]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_of_the_work_is_raised(threads: int) -> None:
    def work(number: int) -> int:
        if number > 3:
            raise ValueError(f"item {number}")
        return number

    def items() -> Iterator[int]:
        yield from range(6)
        raise KeyError("of the items, which is later")

    found = []
    with pytest.raises(ValueError, match="item 4"):
        for answer in map_in_order(work, items(), threads):
            found.append(answer)
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize("threads", [1, 3])
def test_items_are_read_little_ahead_and_no_more_after_the_end(threads: int) -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    before = threading.active_count()
    answers = map_in_order(slow_first, items(), threads)
    for number in range(20):
        next(answers)
        assert len(read) <= number + 2 + 2 * threads
    answers.close()
    assert threading.active_count() == before
    assert len(read) <= 21 + 2 * threads


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (5, 5), (64, 8)])
def test_threads_are_as_many_as_cores_up_to_eight(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    assert num_threads() == threads
