"""Starts or finds the processes that train together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from s2s.errors import UsageError

if TYPE_CHECKING:
    from s2s.training.distributed.process_group import ProcessGroup
    from s2s.training.state import Position


@contextmanager
def launched(device: str) -> Iterator[tuple[ProcessGroup, str]]:
    """The process group that torchrun started, or that of this process alone, and its device.

    Raises UsageError where the processes do not find each other, or `device` names one GPU.
    """
    from s2s.training.distributed.process_group import SINGLE_PROCESS

    if not is_launched():
        yield SINGLE_PROCESS, device
        return
    from s2s.nn.device import choose_device
    from s2s.training.distributed.torchrun import local_device, torchrun_group

    own = local_device(device)
    with torchrun_group(choose_device(own)) as group:
        yield group, own


def is_launched() -> bool:
    """Whether the environment describes a process group, as torchrun sets it."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in names) and os.environ["WORLD_SIZE"] != "1"


@contextmanager
def with_workers(
    group: ProcessGroup, count: int, work: partial[Position], device: str
) -> Iterator[ProcessGroup]:
    """A group of `count` processes on this machine's CPU; `group` itself where `count` is 1.

    Raises UsageError where torchrun has started several, or a GPU trains.
    """
    if count == 1:
        yield group
        return
    if group.is_launched:
        what = f"--workers {count}: torchrun has started {group.size} processes already"
        raise UsageError(f"{what}; leave it out")
    from s2s.nn.device import choose_device
    from s2s.training.distributed.shared_memory import workers

    if (chosen := choose_device(device)).type != "cpu":
        raise UsageError(
            f"--workers {count}: they share the cores of a CPU, found --device {chosen}; "
            "--device cpu takes that, torchrun uses several GPUs"
        )
    with workers(count, work) as local:
        yield local
