"""Describes the machine and the load by other processes."""

import os
import platform
import sys
import time
from pathlib import Path

import psutil
import torch

from s2s.bench.report import Machine
from s2s.nn.kernels import has_fast_bf16
from s2s.nn.threads import usable_cores

BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""The processor times that count as busy; Windows and macOS have fewer of them."""

PROC = Path("/proc")


def describe_machine(device: torch.device) -> Machine:
    """The machine at present; its load is that of the last minute."""
    try:
        load = round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows has none
        load = None
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory=psutil.virtual_memory().total,
        system=platform.platform(),
        device=str(device),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        threads=torch.get_num_threads(),
        native_bf16=has_fast_bf16(device),
        load=load,
        others=None,
    )


def _processor() -> str:
    try:
        lines = (PROC / "cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


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
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in BUSY)


def _own_seconds() -> float:
    """Seconds of this process and of ended child processes."""
    return sum(os.times()[:4])
