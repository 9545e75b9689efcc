"""How many threads PyTorch is told to take, and how many cores there are for them."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from multiprocessing import parent_process
from pathlib import Path

VARIABLE = "OMP_NUM_THREADS"

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells the limits of a container."""


def wanted_threads() -> int | None:
    """What OMP_NUM_THREADS asks for; None where it is not set, or no number of threads.

    OpenMP also takes a list, for regions inside regions; its first number is what counts here.
    """
    first = os.environ.get(VARIABLE, "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def usable_cores() -> int:
    """Cores that this process may run on: no more than a container leaves it."""
    import psutil

    try:
        cores = len(psutil.Process().cpu_affinity())
    except (AttributeError, psutil.Error, OSError):  # macOS has no affinity
        cores = os.cpu_count() or 1
    return min([cores, *_cores_of_group()])


def thread_fault() -> str | None:
    """A line where OMP_NUM_THREADS is no number of threads, or one of more than there are cores."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    wanted = wanted_threads()
    if wanted is None:
        return (
            f"{VARIABLE}={text}: expected a number of threads, 1 or more; goes on as if it were "
            "not set"
        )
    cores = usable_cores()
    if wanted <= cores:
        return None
    there = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"{VARIABLE}={wanted}, this machine has {there}: expect it to be slow; {VARIABLE}={cores} "
        "is the most that pays"
    )


@cache
def warn_of_threads() -> None:
    """Say so on stderr, once; the workers of a command leave that to it."""
    if parent_process() is None and (fault := thread_fault()) is not None:
        sys.stderr.write(f"s2s: {fault}\n")


def _cores_of_group() -> Iterator[int]:
    """Cores whose time a container's control group grants, where it limits them."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            text = " ".join((CGROUP / name).read_text(encoding="ascii") for name in names)
            granted, period = map(int, text.split())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if granted > 0 and period > 0:  # -1 is no limit
            yield max(1, round(granted / period))
