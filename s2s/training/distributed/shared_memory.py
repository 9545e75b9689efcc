"""A process group on the CPU of one machine, with the weights in shared memory.

Each process steps a part of the parameters, with their moments and average, for all processes:

    backward          of the process's own sentences
    hand over         gradients of parameters that others step go to shared memory
    all_gather        a barrier: all gradients are in place
    sum, norm         of the parameters that the process steps
    all_gather        the norm of all gradients
    clip, step        of the parameters that the process steps, into the shared weights
    all_gather        a barrier: the next update may begin

Rank 0 is the hub: it receives the values of the others through pipes and sends all values back.
Both ends of a pipe notice at once when the other process has ended.
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
from s2s.messages import prepare_streams
from s2s.signals import SIGNALS
from s2s.training.distributed.process_group import ReportedByRankZero, WorkerLost, divided
from s2s.training.state import TrainingState

T = TypeVar("T")

ALIGNMENT = 16
"""Tensors begin at multiples of this many numbers: 64 bytes, a cache line."""


class Exchange(Protocol):
    """Sends a value to all processes and receives theirs."""

    def __call__(self, value: T) -> list[T]:
        """See `ProcessGroup.all_gather`."""


@dataclass(frozen=True)
class SharedFile:
    """An anonymous file that several processes map into memory."""

    descriptor: int

    @classmethod
    def make(cls) -> "SharedFile":
        """An empty file. On Linux it lies in no file system, as the /dev/shm of a container is
        often too small."""
        if platform.system() == "Linux":
            return cls(os.memfd_create("s2s"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def map(self, num_bytes: int) -> mmap.mmap:
        """Map the file and close it: the mapping keeps it."""
        mapped = mmap.mmap(self.descriptor, num_bytes)
        os.close(self.descriptor)
        return mapped

    def __reduce__(self) -> tuple[Callable[[Any], "SharedFile"], tuple[Any]]:
        """Pickle as a descriptor of the same file, for a process that is being started."""
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self.descriptor),)


def _received(duplicate: Any) -> SharedFile:
    return SharedFile(duplicate.detach())


@final
class SharedMemoryGroup:
    """A process that shares the training state's memory with the others."""

    is_launched = False

    def __init__(self, rank: int, size: int, exchange: Exchange, memory: SharedFile) -> None:
        """`memory` is empty; `broadcast` maps it."""
        self.rank = rank
        self.size = self.local_world_size = size
        self.exchange = exchange
        self.memory = memory
        self.groups: list[list[str]] = []
        self.handed: list[dict[str, Tensor]] = []
        """By rank, the gradients that the process hands over."""

    def all_gather(self, value: T) -> list[T]:
        """See `ProcessGroup`."""
        return self.exchange(value)

    def broadcast(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""
        sizes = {name: parameter.numel() for name, parameter in state.parameters.items()}
        self.groups = divided({name: sizes[name] for name in state.trained}, self.size)
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
                if gradient is None:  # this process has no sentence of a small batch
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
        """See `ProcessGroup`; there is only one copy of the weights."""


def _room(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _views(section: Tensor, parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """A tensor of each parameter's shape, in a section of the shared memory."""
    sizes = [parameter.numel() for parameter in parameters.values()]
    begins = accumulate(map(_room, sizes), initial=0)
    return {
        name: section[begin : begin + size].view(parameter.shape)
        for (name, parameter), begin, size in zip(parameters.items(), begins, sizes, strict=False)
    }


def _tensors(state: TrainingState) -> list[dict[str, Tensor]]:
    """The tensors that a step changes: weights, moments, the average."""
    moments = [
        {name: state.moments(parameter)[key] for name, parameter in state.trained.items()}
        for key in ("exp_avg", "exp_avg_sq")
    ]
    weights: dict[str, Tensor] = {**state.parameters}
    return [weights, *moments, *([] if state.average is None else [state.average])]


# --------------------------------------------------------------------------------- the processes


class Work(Protocol):
    """The work of a worker process. It is pickled, so it is a partial of a function."""

    def __call__(self, *, group: SharedMemoryGroup) -> object:
        """Train as a process of the group."""


class Failure(NamedTuple):
    """The error of a worker, as it is sent to rank 0."""

    reason: str
    trace: str


@contextmanager
def workers(count: int, work: Work) -> Iterator[SharedMemoryGroup]:
    """A group of `count` processes, this one included; the others execute `work`.

    They are killed at the end of the block. Raises UsageError on Windows.
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
    """The main function of a worker process."""
    prepare_streams()
    for number in SIGNALS:  # all processes receive them; rank 0 decides
        signal.signal(number, signal.SIG_IGN)

    def exchange(value: T) -> list[T]:
        try:
            pipe.send(value)
            answer: list[T] = pipe.recv()
        except (EOFError, OSError):
            raise WorkerLost("the process of rank 0 has ended") from None
        return answer

    try:
        work(group=SharedMemoryGroup(*place, exchange, memory))
    except (Interrupted, ReportedByRankZero, WorkerLost):
        pass  # rank 0 reports it
    except Exception as error:
        reason = str(error) if isinstance(error, S2sError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            pipe.send(Failure(" ".join(reason.split()), traceback.format_exc()))


@final
class _Hub:
    """Rank 0's end of all pipes."""

    def __init__(self, pipes: Sequence[Connection], processes: Sequence[BaseProcess]) -> None:
        self.pipes = pipes
        self.processes = processes

    def __call__(self, value: T) -> list[T]:
        """See `Exchange`. Raises WorkerLost where a worker has ended or failed."""
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
            "the same command resumes from the last checkpoint"
        )
