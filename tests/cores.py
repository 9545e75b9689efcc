"""How many processes the tests are divided among."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MOST = 8
"""Processes; each imports PyTorch, so that more would cost more than they save."""


def num_processes(cgroup: Path = CGROUP) -> int:
    """Cores that this process may run on, as far as a container's limit lets it use them."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # Linux alone has it
        cores = os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(MOST, container_limit(cgroup)))))


def container_limit(cgroup: Path) -> float:
    """Cores' worth of time that a control group allows, of version 2 or 1; infinite without."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        except OSError:
            return math.inf
    return float(quota) / float(period) if quota.strip().isdigit() else math.inf
