"""The memory that a piece of work takes, and the memory that the machine has."""

import sys
from pathlib import Path

import psutil
import torch

from s2s.nn.control_groups import read_limits

PROC = Path("/proc")
"""Only Linux reports the peak of a process there and lets it be reset."""


LIMITS = ("memory.max", "memory.current", "memory.stat")
FIRST_LIMITS = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
"""Files of a control group, in its version 2 and 1: its limit, what is used, statistics."""

CACHES = ({"active_file", "inactive_file"}, {"total_active_file", "total_inactive_file"})
"""Statistics of files in memory: of the group and its children, in version 2 and 1."""


class PeakMemory:
    """The peak of memory from now on: of the process, or of PyTorch on a GPU.

    Only Linux can reset the peak of a process; elsewhere the peak is that since its start.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _set_back()

    def read(self) -> int:
        """Bytes so far."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _peak()


def held_memory(device: torch.device) -> int:
    """Bytes that are held now, counted as `PeakMemory` counts."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _held()


def whole_memory(device: torch.device, processes: int = 1) -> int | None:
    """Bytes that this process may hold in all.

    Where several `processes` are neighbours on a CPU, each has its share of what is free; of GPUs
    each has one of its own. None where the system does not say.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device)
    left = [size for size in (_available(), _left_in_group()) if size is not None]
    return min(left) // processes + _held() if left else None


def _set_back() -> None:
    try:
        (PROC / "self" / "clear_refs").write_text("5", encoding="ascii")  # proc(5)
    except OSError:
        return


def _held() -> int:
    """Resident bytes of this process."""
    try:
        return int(psutil.Process().memory_info().rss)
    except (psutil.Error, OSError):  # a root folder without /proc
        return _peak()


def _peak() -> int:
    """Peak of the resident bytes of this process; psutil has it on Windows only."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    found = _kibibytes(PROC / "self" / "status", "VmHWM")
    if found is not None:
        return found
    import resource  # Windows has none

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _available() -> int | None:
    """Bytes that the machine has for new work; None where the system does not report them."""
    try:
        return int(psutil.virtual_memory().available)
    except (psutil.Error, OSError):
        return None


def _left_in_group() -> int | None:
    """Bytes left below the limits of the process's control groups; None without a limit."""
    left = []
    for text in read_limits("memory", LIMITS, FIRST_LIMITS):
        most, used, *statistics = text.split()
        try:
            free = int(most) - int(used)
            parts = dict(zip(statistics[::2], map(int, statistics[1::2]), strict=True))
        except ValueError:  # "max"
            continue
        # Pages of files that were read count as used, but are given back when they are needed.
        names = next((names for names in reversed(CACHES) if names <= parts.keys()), CACHES[0])
        cached = sum(parts.get(name, 0) for name in names)
        left.append(max(0, free + cached))
    return min(left, default=None)


def _kibibytes(path: Path, field: str) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{field}:")]
    return found[0] * 1024 if found else None
