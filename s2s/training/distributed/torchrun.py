"""A process group that torchrun or a similar launcher has started, on several GPUs or machines.

Each process has the whole training state; `torch.distributed` sums the gradients.

    torchrun --standalone --nproc-per-node 4 --no-python s2s train recipe.yaml
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, TypeVar, final

import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import Interrupted, TrainingError, UsageError
from s2s.training.distributed.process_group import WorkerLost
from s2s.training.state import TrainingState

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long processes wait for rank 0, which may be preparing a large corpus. They do not wait for a
process that has ended: its connections are closed, and torchrun kills the others."""

LOST = timedelta(minutes=5)
"""How long they wait for each other in an update: a machine that has lost its power or its network
closes no connection. torchrun itself waits for it up to five minutes more."""

ELSEWHERE = ("192.0.2.1", 9)
"""An address of no machine (RFC 5737). Where packets to it would go is where the default route
leads; none is sent."""


def local_device(wanted: str) -> str:
    """The device of this process where `wanted` is that of all: each process has its own GPU.

    Raises UsageError where `wanted` names one GPU.
    """
    if wanted.startswith("cuda:"):
        raise UsageError(
            f"--device {wanted}: several processes need a GPU each; expected auto, cpu or cuda"
        )
    has_gpu = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if has_gpu else wanted


@contextmanager
def torchrun_group(device: torch.device) -> Iterator["TorchrunGroup"]:
    """The process group that the environment variables of the launcher describe.

    Raises UsageError where the processes do not find each other.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        _choose_network()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LOST)
        # Values other than tensors travel between CPUs: NCCL would wait for the GPU.
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        host = dist.new_group(backend="gloo", timeout=LOST)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"the processes do not find each other: {reason}; on several machines, start torchrun "
            "with --local-addr ADDRESS, by which the others reach this machine, and set "
            "GLOO_SOCKET_IFNAME to its network interface"
        ) from error
    try:
        yield TorchrunGroup(patient, host)
    except Interrupted:
        dist.destroy_process_group()
        raise
    # Not after an error: other processes may have ended, and this would wait for them.
    dist.destroy_process_group()


@final
class TorchrunGroup:
    """A process with its own copy of the training state."""

    is_launched = True

    def __init__(self, patient: dist.ProcessGroup, host: dist.ProcessGroup) -> None:
        """`patient` carries the first values, which rank 0 sends once it has prepared the data;
        `host` all later ones."""
        self.first: dist.ProcessGroup | None = patient
        self.host = host
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def all_gather(self, value: T) -> list[T]:
        """See `ProcessGroup`."""
        found: list[Any] = [None] * self.size
        group, self.first = self.first or self.host, None
        try:
            dist.all_gather_object(found, value, group=group)
        except RuntimeError as error:
            raise _lost(error) from error
        return found

    def broadcast(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""
        average = () if state.average is None else state.average.values()
        try:
            for tensor in (*state.parameters.values(), *average):
                dist.broadcast(tensor.detach(), 0)
        except RuntimeError as error:
            raise _lost(error) from error

    def sum_gradients(self, parameters: Mapping[str, Parameter], sums: Tensor) -> Tensor:
        """See `ProcessGroup`."""
        pieces, trained = [sums], [one for one in parameters.values() if one.requires_grad]
        for parameter in trained:
            if parameter.grad is None:  # this process has no sentence of a small batch
                parameter.grad = torch.zeros_like(parameter)
            pieces.append(parameter.grad.flatten())
        flat = torch.cat(pieces)
        try:
            dist.all_reduce(flat)
        except RuntimeError as error:
            raise _lost(error) from error
        begin = len(sums)
        for parameter in trained:
            end = begin + parameter.numel()
            parameter.grad = flat[begin:end].view_as(parameter)
            begin = end
        return flat[: len(sums)]

    def whole_norms(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `ProcessGroup`; every process has all gradients."""
        return dict(norms)

    def check_same(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""
        weights = [parameter.detach() for parameter in state.parameters.values()]
        own = torch.stack([weight.double().sum() for weight in weights]).tolist()
        for rank, found in enumerate(self.all_gather(own)):
            if found != own:
                raise TrainingError(
                    f"the weights of processes {self.rank} and {rank} differ, although "
                    "they should be equal; do all machines have the same hardware and software?"
                )


def _choose_network() -> None:
    """Have gloo listen where other machines can reach it.

    Without GLOO_SOCKET_IFNAME it listens on the address of the machine's own name, which many
    systems resolve to 127.0.1.1.
    """
    name = "GLOO_SOCKET_IFNAME"
    is_alone = os.environ.get("WORLD_SIZE") == os.environ.get("LOCAL_WORLD_SIZE")
    if is_alone or os.environ.get(name):
        return
    master = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    for target in (master, ELSEWHERE):
        own = _address_towards(target)
        if own is not None and not ip_address(own).is_loopback:
            break
    else:
        own = None
    chosen = _interface_of(own)
    if chosen is not None:
        os.environ[name] = chosen


def _address_towards(target: tuple[str, int]) -> str | None:
    """The address of this machine from which packets to `target` would come."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _interface_of(address: str | None) -> str | None:
    """The network interface with this address; without one, the only one to other machines."""
    found = {
        name: [item.address for item in items if item.family == socket.AF_INET]
        for name, items in psutil.net_if_addrs().items()
    }
    if address is not None:
        return next((name for name, own in found.items() if address in own), None)
    outside = [
        name for name, own in found.items() if any(not ip_address(one).is_loopback for one in own)
    ]
    return outside[0] if len(outside) == 1 else None


def _lost(error: RuntimeError) -> WorkerLost:
    reason = str(error).partition("\n")[0].partition(". This is typically")[0]
    return WorkerLost(
        f"another process of this training has ended ({reason}); "
        "the same command resumes from the last checkpoint"
    )
