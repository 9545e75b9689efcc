"""Threads on a CPU: how many, how they wait for each other, and the cores they may use."""

import os
from collections.abc import Iterator
from functools import cache
from multiprocessing import parent_process

from s2s.messages import note
from s2s.nn.control_groups import read_limits

VARIABLE = "OMP_NUM_THREADS"

SPIN_VARIABLE = "GOMP_SPINCOUNT"

WAITING = ("OMP_WAIT_POLICY", SPIN_VARIABLE)
"""What says how threads of GNU's OpenMP, that of PyTorch on Linux, wait for each other."""

SPINS = 1000
"""Rounds of a wait before a thread sleeps. OpenMP's own number is 300,000 (libgomp's manual): where
threads lack a core, those that wait keep it from those that they wait for."""


def spin_briefly() -> None:
    """Have waiting threads sleep soon, unless the environment says how they wait.

    Measured (docs/training.md): two threads are 1.7 times as fast where another program takes one
    of two cores, and 5 % slower on idle ones. OpenMP reads the variable when PyTorch is imported,
    so call this before.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ[SPIN_VARIABLE] = str(SPINS)


def requested_threads() -> int | None:
    """The number in OMP_NUM_THREADS; None where it is not set or not a positive number.

    OpenMP also takes a list, for nested parallel regions; the first number is used.
    """
    first = os.environ.get(VARIABLE, "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def usable_cores() -> int:
    """Number of cores that this process may use, within the limits of a container."""
    import psutil

    try:
        cores = len(psutil.Process().cpu_affinity())
    except (AttributeError, psutil.Error, OSError):  # macOS has no affinity
        cores = os.cpu_count() or 1
    return min([cores, *_control_group_cores()])


def thread_fault() -> str | None:
    """A warning where OMP_NUM_THREADS is not a positive number, or exceeds the number of cores."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    requested = requested_threads()
    if requested is None:
        return (
            f"{VARIABLE}={text}: expected a number of threads, 1 or more; the variable is ignored"
        )
    cores = usable_cores()
    if requested <= cores:
        return None
    found = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"{VARIABLE}={requested}, this machine has {found}: expect it to be slow; use "
        f"{VARIABLE}={cores} or less"
    )


@cache
def warn_of_threads() -> None:
    """Write `thread_fault` to stderr, once; workers leave that to their command."""
    if parent_process() is None and (fault := thread_fault()) is not None:
        note(fault)


def _control_group_cores() -> Iterator[int]:
    """Cores that each control group of the process grants, where it has a limit."""
    for text in read_limits("cpu", ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            granted, period = map(int, text.split())
        except ValueError:  # "max"
            continue
        if granted > 0 and period > 0:  # -1 means no limit
            yield max(1, round(granted / period))
