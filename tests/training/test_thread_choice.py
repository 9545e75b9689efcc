"""The number of threads of a training beside other processes."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from s2s.training import thread_choice as module
from s2s.training.distributed.process_group import SINGLE_PROCESS
from s2s.training.thread_choice import CONFIRMED, FIRST, PERIOD, ThreadChoice


class Measured:
    """Processes that use given cores in one measurement after the other, and a clock."""

    def __init__(self, cores: Sequence[float | None]) -> None:
        self.cores = iter(cores)
        self.now = 100.0

    def begin(self) -> Any:
        return SimpleNamespace(cores=lambda: next(self.cores))

    def clock(self) -> float:
        return self.now


def threads_of(others: Sequence[float | None], most: int, cores: int) -> Iterator[int]:
    """The number of threads after each measurement."""
    measured = Measured(others)
    choice = ThreadChoice(most, cores, begin=measured.begin, clock=measured.clock)
    for index in range(len(others)):
        measured.now += PERIOD if index else FIRST
        before = choice.threads
        change = choice.revise()
        assert (change is not None) == (choice.threads != before)
        if change is not None:
            assert change.threads == choice.threads
        yield choice.threads


@pytest.mark.parametrize(
    ("most", "cores", "others", "expected"),
    [
        (2, 2, [0.0, 0.4, 0.1], [2, 2, 2]),
        (2, 2, [1.0], [1]),
        (2, 2, [0.6, 0.0, 0.0, 0.0], [1, 1, 2, 2]),
        (2, 2, [1.0, 0.0, 1.0, 0.0, 0.0], [1, 1, 1, 1, 2]),  # free, but not twice in a row
        (2, 2, [1.0, 1.2, 1.0], [1, 1, 1]),
        # Others want all cores: one thread has none of its own, and two get more of the time.
        (2, 2, [1.0, 1.33, 1.0, 1.0], [1, 2, 2, 2]),
        (2, 2, [1.0, 1.33, *[1.0] * 40, 1.0], [1, *[2] * 40, 1, 1]),
        (8, 8, [2.0, 6.0, 0.0, 0.0], [6, 8, 8, 8]),
        (8, 8, [2.0, 2.2, 0.0, 0.0], [6, 6, 6, 8]),
        (4, 8, [2.0, 4.0, 4.6], [4, 4, 3]),  # threads of half the cores, as with hyperthreading
        (4, 8, [4.6, 5.2, 5.4], [3, 3, 4]),
        (2, 2, [None, 1.0], [2, 1]),
    ],
)
def test_each_thread_has_a_core_of_its_own(
    most: int, cores: int, others: list[float | None], expected: list[int]
) -> None:
    assert CONFIRMED == 2
    assert list(threads_of(others, most, cores)) == expected


def test_nothing_changes_between_measurements() -> None:
    measured = Measured([1.0])
    choice = ThreadChoice(2, 2, begin=measured.begin, clock=measured.clock)
    measured.now += FIRST - 0.01
    assert choice.revise() is None
    measured.now += 0.01
    change = choice.revise()
    assert change is not None
    assert change.message == (
        "other processes use 1.0 of 2 cores: training goes on with 1 thread (OMP_NUM_THREADS fixes "
        "the number, and with it the rounding)"
    )


@pytest.mark.parametrize(
    ("threads", "cores", "variable", "device", "processes", "is_ours"),
    [
        (2, 4, None, "cpu", 1, True),
        (1, 4, None, "cpu", 1, False),
        (2, 3, None, "cpu", 1, False),  # a container
        (2, 4, 2, "cpu", 1, False),
        (2, 4, None, "cuda", 1, False),
        (2, 4, None, "cpu", 2, False),
    ],
)
def test_threads_that_somebody_else_decides_stay(
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    cores: int,
    variable: int | None,
    device: str,
    processes: int,
    is_ours: bool,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "os", SimpleNamespace(cpu_count=lambda: 4))
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module, "requested_threads", lambda: variable)
    group: Any = SINGLE_PROCESS
    if processes > 1:
        group = SimpleNamespace(local_world_size=processes)
    choice = module.thread_choice(torch.device(device), group)
    assert (choice is not None) == is_ours
