"""The memory that a piece of work takes, and the memory that the machine has."""

import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from s2s.nn.threads import CGROUP

PROC = Path("/proc")
"""Only Linux reports the peak of a process there and lets it be reset."""


class Group(NamedTuple):
    """The files in which a container's control group reports memory."""

    most: str
    used: str
    statistics: str
    cached: tuple[str, str]


GROUPS = (
    Group("memory.max", "memory.current", "memory.stat", ("active_file", "inactive_file")),
    Group(
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_active_file", "total_inactive_file"),
    ),
)
"""Both versions of control groups; a system has one of them."""


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
    """Bytes left below a container's limit; None without a limit."""
    for group in GROUPS:
        try:
            most = int((CGROUP / group.most).read_text(encoding="ascii"))
            used = int((CGROUP / group.used).read_text(encoding="ascii"))
            lines = (CGROUP / group.statistics).read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        parts = {name: int(size) for name, size in map(str.split, lines)}
        # Pages of files that were read count as used, but are given back when they are needed.
        cached = sum(parts.get(name, 0) for name in group.cached)
        return max(0, most - used + cached)
    return None


def _kibibytes(path: Path, field: str) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{field}:")]
    return found[0] * 1024 if found else None
