"""The machine: its name and its load."""

import os
import platform
import resource
import time
from pathlib import Path

import torch

from s2s.bench.report import Machine
from s2s.nn.kernels import has_fast_bf16

PROC = Path("/proc")


def describe_machine(device: torch.device) -> Machine:
    """As it is now; the load is that of the minute before."""
    try:
        load = round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows has none
        load = None
    return Machine(
        processor=_processor(),
        cores=_cores(),
        memory=_memory(),
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


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Linux alone has it
        return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


class Others:
    """What other processes take of the processor, from now on."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.before = _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """Cores they had on average until now, a hypervisor's other guests included; None where
        the system does not say."""
        busy, own = _busy_seconds(), _own_seconds()
        if busy is None or self.before[0] is None:
            return None
        others = (busy - self.before[0]) - (own - self.before[1])
        return round(max(0.0, others) / (time.monotonic() - self.began), 2)


def _busy_seconds() -> float | None:
    """Of all cores since the machine was started."""
    try:
        first = (PROC / "stat").read_text(encoding="ascii").splitlines()[0]
        user, nice, system, _, _, irq, softirq, steal = map(int, first.split()[1:9])  # proc(5)
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _own_seconds() -> float:
    """Of this process and those it has waited for."""
    spent = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
