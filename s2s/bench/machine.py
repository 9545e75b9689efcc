"""Describes the machine and the load by other processes."""

import os
import platform
from pathlib import Path

import psutil
import torch

from s2s.bench.report import Machine
from s2s.nn.kernels import has_fast_bf16
from s2s.nn.threads import usable_cores

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
