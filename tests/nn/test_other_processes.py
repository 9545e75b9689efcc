"""The cores that other processes use."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from s2s.nn import other_processes

LINUX = (
    {"user": 1, "nice": 0.1, "system": 0.2, "idle": 9.99, "iowait": 0.88, "irq": 0.01}
    | {"softirq": 0.02, "steal": 0.07, "guest": 0.55, "guest_nice": 0},
    {"user": 9, "nice": 0.2, "system": 0.6, "idle": 59.99, "iowait": 0.99, "irq": 0.03}
    | {"softirq": 0.08, "steal": 0.29, "guest": 0.77, "guest_nice": 0},
)
MACOS = (
    {"user": 3, "nice": 1, "idle": 7, "system": 2},
    {"user": 9, "nice": 2, "idle": 700, "system": 4},
)


@pytest.mark.parametrize(
    ("counted", "busy"),
    [
        (LINUX, (9 - 1) + (0.2 - 0.1) + (0.6 - 0.2) + 0.02 + (0.08 - 0.02) + (0.29 - 0.07)),
        (MACOS, (9 - 3) + (2 - 1) + (4 - 2)),
    ],
)
def test_other_processes_have_the_time_that_this_one_has_not(
    monkeypatch: pytest.MonkeyPatch, counted: tuple[dict[str, float], ...], busy: float
) -> None:
    """Seconds of all cores, of this process, and of the clock."""
    times = iter([SimpleNamespace(**seconds) for seconds in counted])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))
    spent = iter([2.0, 7.0])
    monkeypatch.setattr(other_processes, "_own_seconds", lambda: next(spent))
    clock = iter([50.0, 60.0])
    # Of this module alone: threads of the test process look at the clock too.
    monkeypatch.setattr(other_processes, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    others = other_processes.OtherProcesses()
    assert others.cores() == pytest.approx((busy - (7.0 - 2.0)) / (60.0 - 50.0), abs=0.005)


def test_the_time_of_an_ended_child_process_is_our_own() -> None:
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    before = other_processes._own_seconds()
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert other_processes._own_seconds() - before > 0.25


def test_windows_does_not_report_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows loses the seconds of processes that have ended."""
    monkeypatch.setattr(other_processes, "sys", SimpleNamespace(platform="win32"))
    assert other_processes.OtherProcesses().cores() is None
