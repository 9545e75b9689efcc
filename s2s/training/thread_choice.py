"""Chooses the number of threads of a training on a CPU by what other processes leave of it."""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from s2s.nn.other_processes import OtherProcesses
from s2s.nn.threads import VARIABLE, requested_threads, usable_cores
from s2s.training.distributed.process_group import ProcessGroup

FIRST, PERIOD = 3.0, 15.0
"""Seconds of the first measurement and of each later one."""

CONFIRMED = 2
"""Measurements in a row that must leave cores for more threads. One is enough for fewer: a thread
without a core of its own holds up all others."""

SHORT = 0.25
"""Cores that may be missing for the threads that train after their number was lowered."""

PAUSE = 600.0
"""Seconds without another lowering after one that did not help."""


class ThreadChange(NamedTuple):
    """Another number of threads, and why."""

    threads: int
    others: float
    """Cores that other processes use."""
    cores: int

    @property
    def message(self) -> str:
        """What a user should know, in a line."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"other processes use {self.others:.1f} of {self.cores} cores: training goes on with "
            f"{threads} ({VARIABLE} fixes the number, and with it the rounding)"
        )


class ThreadChoice:
    """The threads of this process: as many as have a core of their own, at most `most`.

    Threads share every product and wait for the slowest of them. Where another program takes a
    core, all wait for the thread that shares it, and fewer threads are faster (docs/training.md).
    Where others want all cores, no thread has one of its own, and the system divides its time by
    threads: then `most` get most of it.
    """

    def __init__(
        self,
        most: int,
        cores: int,
        *,
        begin: Callable[[], OtherProcesses] = OtherProcesses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.cores = most, cores
        self.threads = most
        self._begin, self._clock = begin, clock
        self._since, self._others, self._seconds = clock(), begin(), FIRST
        self._roomy = 0
        """Measurements in a row that left cores for more threads."""
        self._lower_from = self._since
        """The time from which the number may become lower."""

    def revise(self) -> ThreadChange | None:
        """The change that a measurement asks for, if one has just ended; to call after an update.

        The caller sets the number of threads.
        """
        if self._clock() - self._since < self._seconds:
            return None
        others = self._others.cores()
        self._since, self._others, self._seconds = self._clock(), self._begin(), PERIOD
        if others is None:
            return None
        threads = self._threads_beside(others)
        if threads == self.threads:
            return None
        self.threads, self._roomy = threads, 0
        return ThreadChange(threads, others, self.cores)

    def _threads_beside(self, others: float) -> int:
        """The number of threads from now on."""
        left = self.cores - others
        if self.threads < self.most and left < self.threads - SHORT:
            self._lower_from = self._since + PAUSE
            return self.most
        # Of half a core a thread gets enough: the other process is not always there.
        fitting = min(self.most, max(1, int(left + 0.5)))
        self._roomy = self._roomy + 1 if fitting > self.threads else 0
        if fitting > self.threads:
            return fitting if self._roomy >= CONFIRMED else self.threads
        return fitting if self._since >= self._lower_from else self.threads


def thread_choice(device: torch.device, group: ProcessGroup) -> ThreadChoice | None:
    """The choice for a training; None where the number of threads stays as it is.

    That is where it is one or OMP_NUM_THREADS has set it, where processes share the cores, and in a
    container with fewer cores than the machine, whose other processes have cores of their own.
    """
    most = torch.get_num_threads()
    is_ours = device.type == "cpu" and most > 1 and requested_threads() is None
    if not is_ours or group.local_world_size > 1 or usable_cores() != os.cpu_count():
        return None
    return ThreadChoice(most, usable_cores())
