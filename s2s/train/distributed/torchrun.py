"""Processes that torchrun, or another launcher of its kind, has started: on several GPUs or several
machines. Each has the whole state; gradients are summed by `torch.distributed`.

    torchrun --standalone --nproc-per-node 4 --no-python s2s train recipe.yaml
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import Interrupted, TrainingError, UsageError
from s2s.train.distributed.process_group import WorkerLost
from s2s.train.state import TrainingState

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long processes wait for the first one, which may be preparing a large corpus. They do not
wait for one that is gone: its connections are closed, and torchrun ends them."""


def local_device(wanted: str) -> str:
    """The device of this process where `wanted` is for all: every process has a GPU of its own.

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
    """The processes whose number, and whose meeting point, the environment tells.

    Raises UsageError where they do not find each other.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        # Values that are no tensors travel between processors: a GPU would be waited for.
        host = dist.new_group(backend="gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"the processes do not find each other: {reason}") from error
    try:
        yield TorchrunGroup(host)
    except Interrupted:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()  # after an error others may be gone, and waiting for them is vain


@final
class TorchrunGroup:
    """A process with a state of its own, which is the same as the others'."""

    is_launched = True

    def __init__(self, host: dist.ProcessGroup) -> None:
        self.host = host
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def all_gather(self, value: T) -> list[T]:
        """See `ProcessGroup`."""
        found: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(found, value, group=self.host)
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
        pieces = [sums]
        for parameter in parameters.values():
            if parameter.grad is None:  # no sentence of a small batch is ours
                parameter.grad = torch.zeros_like(parameter)
            pieces.append(parameter.grad.flatten())
        flat = torch.cat(pieces)
        try:
            dist.all_reduce(flat)
        except RuntimeError as error:
            raise _lost(error) from error
        begin = len(sums)
        for parameter in parameters.values():
            end = begin + parameter.numel()
            parameter.grad = flat[begin:end].view_as(parameter)
            begin = end
        return flat[: len(sums)]

    def whole_norms(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `ProcessGroup`; each process has all gradients."""
        return dict(norms)

    def check_same(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""
        weights = [parameter.detach() for parameter in state.parameters.values()]
        own = torch.stack([weight.double().sum() for weight in weights]).tolist()
        for rank, found in enumerate(self.all_gather(own)):
            if found != own:
                raise TrainingError(
                    f"the weights of processes {self.rank} and {rank} differ, which they never "
                    "should; are machine and software the same everywhere?"
                )


def _lost(error: RuntimeError) -> WorkerLost:
    reason = str(error).partition("\n")[0]
    return WorkerLost(
        f"another process of this training is gone ({reason}); "
        "the same command goes on from the last checkpoint"
    )
