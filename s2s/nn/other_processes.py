"""The cores that other processes use."""

import os
import sys
import time

BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""The processor times that count as busy; Windows and macOS have fewer of them."""


class OtherProcesses:
    """The processor time of other processes, from now on."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.before = _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """The cores that they had on average until now, with other guests of a hypervisor; None if
        the system does not report it."""
        busy, own = _busy_seconds(), _own_seconds()
        if busy is None or self.before[0] is None:
            return None
        others = (busy - self.before[0]) - (own - self.before[1])
        return round(max(0.0, others) / (time.monotonic() - self.began), 2)


def _busy_seconds() -> float | None:
    """Busy seconds of all cores since the boot; None if those of this process are not known."""
    if sys.platform == "win32":  # Windows does not count ended child processes
        return None
    import psutil

    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in BUSY)


def _own_seconds() -> float:
    """Seconds of this process and of ended child processes."""
    return sum(os.times()[:4])
