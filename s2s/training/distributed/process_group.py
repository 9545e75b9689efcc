"""Data-parallel training: the group of processes that train one model.

All processes run the same loop over the same batches. Each takes its share of the sentences of a
batch; the gradients are summed over the group, so that an update equals that of a single process up
to rounding. Decisions by a clock, a signal or a score use the result of `ProcessGroup.all_gather`,
which is the same in every process. Only rank 0 writes files.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import TrainingError
from s2s.training.state import TrainingState

T = TypeVar("T")


class WorkerLost(TrainingError):
    """Another process of the group has ended before its work was done."""


class ReportedByRankZero(TrainingError):
    """An error that all processes of the group have, and rank 0 reports."""


class ProcessGroup(Protocol):
    """A process's view of the group that it trains in; names as in `torch.distributed`."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """Number of processes in the group."""

    @property
    def local_world_size(self) -> int:
        """Number of processes of the group on this machine, which share its cores."""

    @property
    def is_launched(self) -> bool:
        """Whether a launcher such as torchrun started the processes. It forwards its signals, so
        that a process may receive one twice, and kills processes that take too long to stop."""

    def all_gather(self, value: T) -> list[T]:
        """The values of all processes, by rank; returns when all processes have called it.

        Raises WorkerLost where another process has ended.
        """

    def broadcast(self, state: TrainingState) -> None:
        """Overwrite `state` with that of rank 0, and share it from here on."""

    def sum_gradients(self, parameters: Mapping[str, Parameter], sums: Tensor) -> Tensor:
        """Sum the gradients, and `sums`, over the group; returns the latter.

        Afterwards only the parameters that this process steps have gradients. They must not be
        stepped again before the next `all_gather`.
        """

    def whole_norms(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The norms of all gradients, from those of the parameters that each process steps."""

    def check_same(self, state: TrainingState) -> None:
        """Raise TrainingError where weights differ between processes that step all of them."""


@final
class SingleProcess:
    """The group of one process."""

    rank = 0
    size = 1
    local_world_size = 1
    is_launched = False

    def all_gather(self, value: T) -> list[T]:
        """See `ProcessGroup`."""
        return [value]

    def broadcast(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""

    def sum_gradients(self, parameters: Mapping[str, Parameter], sums: Tensor) -> Tensor:
        """See `ProcessGroup`."""
        return sums

    def whole_norms(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `ProcessGroup`."""
        return dict(norms)

    def check_same(self, state: TrainingState) -> None:
        """See `ProcessGroup`."""


SINGLE_PROCESS = SingleProcess()


class PendingActions(NamedTuple):
    """Actions that a process requests after an update."""

    signal_number: int | None
    """Stop, because of this signal."""
    is_save_due: bool
    """Save, because the last checkpoint is old."""


def agreed(all_pending: Sequence[PendingActions]) -> PendingActions:
    """The actions of all: stop if any process received a signal; save by the clock of rank 0."""
    signals = [
        pending.signal_number for pending in all_pending if pending.signal_number is not None
    ]
    return PendingActions(signals[0] if signals else None, all_pending[0].is_save_due)


def share(pairs: NDArray[np.int64], group: ProcessGroup) -> NDArray[np.int64]:
    """This process's share of a batch: every `group.size`-th pair, since neighbouring pairs have
    similar lengths."""
    return pairs[group.rank :: group.size]


def divided(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Names in `count` groups of about equal total size: the largest first, each to the smallest
    group."""
    groups: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        least = totals.index(min(totals))
        groups[least].append(name)
        totals[least] += sizes[name]
    return groups
