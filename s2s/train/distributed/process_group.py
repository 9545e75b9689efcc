"""Processes that train one model together.

All of them run the same loop over the same plan. Of every batch each takes its share of the
sentences; gradients are summed over the processes, so that an update is the one that a single
process would have made, up to rounding. What the loop decides by a clock, a signal or a score it
decides by what `ProcessGroup.all_gather` returned, which is the same for all. Rank 0 alone writes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import TrainingError
from s2s.train.state import TrainingState

T = TypeVar("T")


class WorkerLost(TrainingError):
    """Another process of the team has ended before its work was done."""


class ReportedByRankZero(TrainingError):
    """What has come to all processes of the team, and the first one tells."""


class ProcessGroup(Protocol):
    """One process's view of the processes that train together."""

    @property
    def rank(self) -> int:
        """The place of this process among them, from 0."""

    @property
    def size(self) -> int:
        """How many they are."""

    @property
    def local_world_size(self) -> int:
        """How many of them share this machine's cores, this one included."""

    @property
    def is_launched(self) -> bool:
        """Whether a launcher started them. It passes on the signals it gets, which they may have
        got themselves, and ends those who take too long."""

    def all_gather(self, value: T) -> list[T]:
        """Everybody's value, in the order of ranks; returns when all have come here.

        Raises PartnerLost where another process is gone.
        """

    def broadcast(self, state: TrainingState) -> None:
        """Train this state, which becomes that of the first process."""

    def sum_gradients(self, parameters: Mapping[str, Parameter], sums: Tensor) -> Tensor:
        """Sum the gradients, and `sums`, over the team; returns the latter.

        Afterwards only parameters that this process steps have gradients; they must not be stepped
        again before all have come to `gather`.
        """

    def whole_norms(self, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The norms of gradients as a whole, from those of the parameters that each one steps."""

    def check_same(self, state: TrainingState) -> None:
        """Raise TrainingError where weights differ between processes that step all of them."""


@final
class SingleProcess:
    """A process that trains by itself."""

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
    """What a process would do after an update, were it alone."""

    signal_number: int | None
    """Stop, because of this signal."""
    is_save_due: bool
    """Save, because the last time is long ago."""


def agreed(all_pending: Sequence[PendingActions]) -> PendingActions:
    """Stop if anybody has had a signal; save by the clock of the first."""
    signals = [
        pending.signal_number for pending in all_pending if pending.signal_number is not None
    ]
    return PendingActions(signals[0] if signals else None, all_pending[0].is_save_due)


def share(pairs: NDArray[np.int64], group: ProcessGroup) -> NDArray[np.int64]:
    """The pairs of a batch that are this process's: every one of so many, since neighbours are of
    similar length."""
    return pairs[group.rank :: group.size]


def divided(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Names in `count` groups whose sizes add up to about the same, the largest given out first."""
    groups: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        least = totals.index(min(totals))
        groups[least].append(name)
        totals[least] += sizes[name]
    return groups
