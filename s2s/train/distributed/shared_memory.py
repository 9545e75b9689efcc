"""Several processes on one machine's CPU: weights in memory that all share.

Every process steps a part of the parameters, with their moments and average, for all:

    backward          each process, of its sentences
    hand over         gradients of parameters that others step go to shared memory
    gather            all are there
    sum, norm         of the parameters one steps oneself
    gather            the norm of the whole
    clip, step        of the parameters one steps oneself, into the shared weights
    gather            nobody begins the next update before

The first process is the hub: values come to it through pipes and go out again. A pipe whose other
end is gone is noticed at once, on both sides.
"""

import math
import mmap
import os
import platform
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol, TypeVar, final

import torch
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import Interrupted, S2sError, UsageError
from s2s.train.distributed.process_group import ReportedByRankZero, WorkerLost, divided
from s2s.train.state import TrainingState

T = TypeVar("T")

ALIGNMENT = 16
"""Tensors begin at multiples of so many numbers, 64 bytes: a line of the cache."""


class Exchange(Protocol):
    """How values travel."""

    def __call__(self, value: T) -> list[T]:
        """See `ProcessGroup.gather`."""


@dataclass(frozen=True)
class SharedFile:
    """A file without a name, which several processes map into their memory."""

    descriptor: int

    @classmethod
    def make(cls) -> "SharedFile":
        """An empty one. On Linux no file system holds it, whose size might be limited: the
        /dev/shm of a container often is."""
        if platform.system() == "Linux":
            return cls(os.memfd_create("s2s"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def map(self, num_bytes: int) -> mmap.mmap:
        """Map it, and close it: the mapping holds it now."""
        mapped = mmap.mmap(self.descriptor, num_bytes)
        os.close(self.descriptor)
        return mapped

    def __reduce__(self) -> tuple[Callable[[Any], "SharedFile"], tuple[Any]]:
        """Sent along when a process starts, as a descriptor of the same file."""
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self.descriptor),)


def _received(duplicate: Any) -> SharedFile:
    return SharedFile(duplicate.detach())


@final
class SharedMemoryGroup:
    """A process that shares the state's memory with the others."""

    is_launched = False

    def __init__(self, rank: int, size: int, exchange: Exchange, memory: SharedFile) -> None:
        """`memory` is empty as yet; `join` maps it."""
        self.rank = rank
        self.size = self.local_world_size = size
        self.exchange = exchange
        self.memory = memory
        self.groups: list[list[str]] = []
        self.handed: list[dict[str, Tensor]] = []
        """For each rank, the gradients it hands over."""

    def all_gather(self, value: T) -> list[T]:
        """See `ProcessGroup`."""
        return self.exchange(value)

    def broadcast(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""
        sizes = {name: parameter.numel() for name, parameter in state.parameters.items()}
        self.groups = divided(sizes, self.size)
        state.stepped = self.groups[self.rank]
        tensors = _tensors(state)
        length = sum(map(_room, sizes.values()))
        num_bytes = 4 * length * (len(tensors) + self.size)
        if self.rank == 0:
            os.ftruncate(self.memory.descriptor, num_bytes)
        self.all_gather(None)
        memory = torch.frombuffer(self.memory.map(num_bytes), dtype=torch.float32)
        sections = memory.view(-1, length)
        places = [_views(section, state.parameters) for section in sections]
        for own, shared in zip(tensors, places, strict=False):
            for name, tensor in own.items():
                if self.rank == 0:
                    shared[name].copy_(tensor.detach())
                tensor.data = shared[name]
        self.handed = places[len(tensors) :]
        self.all_gather(None)

    def sum_gradients(self, parameters: Mapping[str, Parameter], sums: Tensor) -> Tensor:
        """See `ProcessGroup`."""
        handed = self.handed[self.rank]
        for rank, group in enumerate(self.groups):
            for name in group if rank != self.rank else ():
                gradient, parameters[name].grad = parameters[name].grad, None
                if gradient is None:  # no sentence of a small batch is ours
                    handed[name].zero_()
                else:
                    handed[name].copy_(gradient)
        all_sums = self.all_gather(sums.tolist())
        others = [place for rank, place in enumerate(self.handed) if rank != self.rank]
        for name in self.groups[self.rank]:
            parameter = parameters[name]
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            for place in others:
                parameter.grad.add_(place[name])
        return torch.tensor([sum(column) for column in zip(*all_sums, strict=True)])

    def whole_norms(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `ProcessGroup`."""
        squares: dict[str, float] = {}
        for part in self.all_gather({name: float(norm) ** 2 for name, norm in norms.items()}):
            for name, square in part.items():
                squares[name] = squares.get(name, 0.0) + square
        return {name: torch.tensor(math.sqrt(square)) for name, square in squares.items()}

    def check_same(self, state: TrainingState) -> None:
        """See `ProcessGroup`; there is only one copy of them."""


def _room(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _views(section: Tensor, parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """A tensor like each parameter, in a section of the shared memory."""
    sizes = [parameter.numel() for parameter in parameters.values()]
    begins = accumulate(map(_room, sizes), initial=0)
    return {
        name: section[begin : begin + size].view(parameter.shape)
        for (name, parameter), begin, size in zip(parameters.items(), begins, sizes, strict=False)
    }


def _tensors(state: TrainingState) -> list[dict[str, Tensor]]:
    """All that a step changes: weights, moments, the average."""
    moments = [
        {name: state.moments(parameter)[key] for name, parameter in state.parameters.items()}
        for key in ("exp_avg", "exp_avg_sq")
    ]
    weights: dict[str, Tensor] = {**state.parameters}
    return [weights, *moments, *([] if state.average is None else [state.average])]


# --------------------------------------------------------------------------------- the processes


class Work(Protocol):
    """What a worker does; sent to another process, so a partial of a function."""

    def __call__(self, *, group: SharedMemoryGroup) -> object:
        """Train as a member of the team."""


class Failure(NamedTuple):
    """What a worker sends when it cannot go on."""

    reason: str
    trace: str


@contextmanager
def workers(count: int, work: Work) -> Iterator[SharedMemoryGroup]:
    """`count` processes that train together, this one included; the others do `work`.

    They end with the block, whatever they are at. Raises UsageError on Windows.
    """
    if platform.system() == "Windows":
        raise UsageError("--workers: expected Linux or macOS, found Windows; leave it out")
    context = get_context("spawn")  # a fork would inherit OpenMP's threads
    memory = SharedFile.make()
    pipes: list[Connection] = []
    processes: list[BaseProcess] = []
    try:
        for rank in range(1, count):
            here, there = context.Pipe()
            pipes.append(here)
            arguments = (there, (rank, count), memory, work)
            process: BaseProcess = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            there.close()
            processes.append(process)
        yield SharedMemoryGroup(0, count, _Hub(pipes, processes), memory)
    finally:
        for process in processes:
            process.kill()  # they have nothing to save, and ignore requests to stop
        for process in processes:
            process.join()
        for pipe in pipes:
            pipe.close()


def _work(pipe: Connection, place: tuple[int, int], memory: SharedFile, work: Work) -> None:
    """What a worker's process does."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they go to all; the first process decides
        signal.signal(number, signal.SIG_IGN)

    def exchange(value: T) -> list[T]:
        try:
            pipe.send(value)
            answer: list[T] = pipe.recv()
        except (EOFError, OSError):
            raise WorkerLost("the first process is gone") from None
        return answer

    try:
        work(group=SharedMemoryGroup(*place, exchange, memory))
    except (Interrupted, ReportedByRankZero, WorkerLost):
        pass  # the first process knows
    except Exception as error:
        reason = str(error) if isinstance(error, S2sError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            pipe.send(Failure(" ".join(reason.split()), traceback.format_exc()))


@final
class _Hub:
    """The first process's end of all pipes."""

    def __init__(self, pipes: Sequence[Connection], processes: Sequence[BaseProcess]) -> None:
        self.pipes = pipes
        self.processes = processes

    def __call__(self, value: T) -> list[T]:
        """See `Exchange`. Raises PartnerLost where a worker has ended, or cannot go on."""
        values = [value, *(self._received(place) for place in range(len(self.pipes)))]
        for place, pipe in enumerate(self.pipes):
            try:
                pipe.send(values)
            except OSError:
                raise self._lost(place) from None
        return values

    def _received(self, place: int) -> Any:
        try:
            value = self.pipes[place].recv()
        except (EOFError, OSError):
            raise self._lost(place) from None
        if isinstance(value, Failure):
            error = WorkerLost(f"worker process {self.processes[place].pid}: {value.reason}")
            error.add_note(value.trace)
            raise error
        return value

    def _lost(self, place: int) -> WorkerLost:
        process = self.processes[place]
        process.join(10)
        code = process.exitcode
        how = f"exit status {code}"
        if code is not None and code < 0:
            how = signal.Signals(-code).name + (", was memory short?" if code == -9 else "")
        return WorkerLost(
            f"worker process {process.pid} ended before its work was done ({how}); "
            "the same command goes on from the last checkpoint"
        )
