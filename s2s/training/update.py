"""One update of the parameters: forward, backward, clip, step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import TrainingError
from s2s.nn.batch import Batch
from s2s.nn.cells.base import CellState
from s2s.nn.device import Precision, autocast, fp32_of
from s2s.recipe.train import Train
from s2s.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from s2s.training.lr_schedule import learning_rate_factor
from s2s.training.masked_step import masked_step
from s2s.training.objective import REHEARSAL, Objective
from s2s.training.state import TrainingState

Carried = tuple[CellState, ...] | None
"""The states that rows of a stream leave to their next window; None without a stream."""

SUMS = 4
"""Sums of an update before those of its measures."""

WHOLE = ""
"""The whole model, among the names of its parts."""


@dataclass(frozen=True)
class Update:
    """Numbers of one update. Tensors stay on the device: reading them would wait for it."""

    smoothed: Tensor
    """Minimized loss, summed over tokens."""
    nll: Tensor
    """Negative log-likelihood, summed over tokens."""
    tokens: int
    """Target tokens, end of sentence included."""
    gradient_norm: Tensor
    """Before clipping, of the loss averaged over tokens."""
    readout_deviation: Tensor
    """The objective's diagnostic: the standard deviation of the readout, which near 1 means a
    saturated tanh without gradient."""
    learning_rate: float
    part_norms: dict[str, Tensor] | None
    """Gradient norm of each part of the model, where requested."""
    measures: Tensor | None
    """The number of pairs that the objective has measured, and sums of its measures over them;
    None of an objective without."""
    parts: int
    """Passes of this process: more than its batches where memory was too small for these."""


def update_seed(seed: int, update: int, rank: int = 0) -> int:
    """Seed of the randomness in an update, in practice different for every (seed, update, rank).

    Generators on a CPU read the lowest 32 bits only, so all three numbers must change them. A
    multiple of 2^32 over the golden ratio lies far from its neighbours (Knuth, TAOCP 3, 6.4), and
    one of 2^32 over the square root of 2 from both.
    """
    return ((seed - 1) * 0x9E3779B1 + update + rank * 0xB504F333) % 2**32


NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
"""Texts of out-of-memory errors without a type of their own: of a CPU's allocator, and of the
libraries of a GPU."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    is_named = any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, torch.OutOfMemoryError) or is_named


class Updater:
    """Makes updates; everything random in update n is a function of (seed, n, rank).

    `on_stage` is called after the `forward` and the `backward` pass of a batch and after the
    `optimizer`'s step.
    """

    def __init__(
        self,
        state: TrainingState,
        objective: Objective,
        seed: int,
        precision: Precision,
        total_updates: int,
        *,
        on_stage: Callable[[str], object] = lambda stage: None,
        group: ProcessGroup = SINGLE_PROCESS,
        pass_tokens: int | None = None,
    ) -> None:
        self.state = state
        self.objective = objective
        self.group = group
        self.recipe: Train = state.recipe
        self.seed = seed
        self.device = state.model.output.bias.device
        self.precision = precision
        self.total_updates = total_updates
        self.on_stage = on_stage
        self.pass_tokens = pass_tokens

    def __call__(
        self, batches: Sequence[Batch], *, tokens: int | None = None, watch: bool = False
    ) -> Update:
        """Accumulate the gradients of `batches` and step.

        The loss is averaged over all their tokens, not over batches. Where they are only this
        process's share of the update, `tokens` is the number of tokens of all processes. `watch`
        requests the gradient norms of the model's parts.

        Where memory runs out, the update uses half batches, quarters and so on: the gradient is
        the same up to rounding and the draws of dropout. Raises TrainingError where memory is too
        small for single pairs.
        """
        state, position = self.state, self.state.position
        position.update += 1
        if tokens is None:
            tokens = sum(int(batch.target_lengths.sum()) for batch in batches)
        groups = [self._fitting(batch) for batch in batches]
        while (sums := self._gradients(groups, tokens, position.update)) is None:
            groups = self._halved(groups)
        sums = self.group.sum_gradients(state.parameters, sums)
        norms = self._norms(watch)
        norm = norms.pop(WHOLE)
        left_out = self._step(norm)
        position.tokens += tokens
        state.update_average(left_out)
        self.on_stage("optimizer")
        smoothed, nll, deviation, num_parts = sums[:SUMS]
        return Update(
            smoothed,
            nll,
            tokens,
            norm,
            deviation / num_parts,
            self.learning_rate(),
            norms if watch else None,
            sums[SUMS:] if self.objective.measures else None,
            sum(map(len, groups)),
        )

    def fits(self, batch: Batch) -> bool:
        """Whether a pass over a batch fits into memory; discards its gradients."""
        carried = self.state.carried
        tokens = int(batch.target_lengths.sum())
        is_done = self._gradients([[batch]], tokens, REHEARSAL) is not None
        self.state.carried = carried
        self._forget_gradients()
        return is_done

    def _fitting(self, batch: Batch) -> list[Batch]:
        """The batch in parts of at most `pass_tokens`."""
        halves = batch.halves()
        if self.pass_tokens is None or batch.tokens <= self.pass_tokens or len(halves) == 1:
            return [batch]
        return [part for half in halves for part in self._fitting(half)]

    def _gradients(
        self, groups: Sequence[Sequence[Batch]], tokens: int, update: int
    ) -> Tensor | None:
        """Accumulate gradients of the loss of an update, averaged over `tokens`; None where memory
        ran out.

        Each group has the parts of a batch. Sums of the smoothed loss, the nll, the deviation of
        readouts and their number, then of the pairs that are measured and their measures.
        """
        torch.manual_seed(update_seed(self.seed, self.state.position.update, self.group.rank))
        measures = self.objective.measures
        sums = torch.zeros(SUMS + len(measures) + bool(measures), device=self.device)
        carried = self.state.carried
        try:
            for parts in groups:
                left, row = [], 0
                for part in parts:
                    rows = slice(row, row + len(part.target_lengths))
                    found = self._pass(part, tokens, _rows_of(carried, rows), update)
                    sums[: len(found.sums)] += found.sums
                    left.append(found.carried)
                    row = rows.stop
                carried = _joined(left)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        self.state.carried = carried
        return sums

    def _pass(self, batch: Batch, tokens: int, carried: Carried, update: int) -> "_Passed":
        """Forward and backward of a batch of an update."""
        with fp32_of(self.precision, self.device):
            with autocast(self.precision, self.device):
                found = self.objective.loss(self.state.model, batch, update, carried)
            self.on_stage("forward")
            (found.loss / tokens).backward()  # type: ignore[no-untyped-call]
            self.on_stage("backward")
        one = torch.ones_like(found.diagnostic)
        sums = torch.stack((found.loss.detach(), found.nll.detach(), found.diagnostic, one))
        if found.measures is not None:
            sums = torch.cat((sums, found.measures.to(sums)))
        return _Passed(sums, found.carried)

    def _halved(self, groups: Sequence[Sequence[Batch]]) -> list[list[Batch]]:
        """The batches in halves, after memory ran out."""
        self._forget_gradients()  # some may have been computed
        halves = [[half for batch in parts for half in batch.halves()] for parts in groups]
        if sum(map(len, halves)) == sum(map(len, groups)):
            one = groups[0][0]
            raise TrainingError(
                f"update {self.state.position.update}: memory is too small for a single pair "
                f"of {one.source.shape[1]} source and {one.target_output.shape[1]} "
                "target tokens; a smaller data.filters.max_length or data.truncate cuts such pairs"
            )
        return halves

    def _forget_gradients(self) -> None:
        self.state.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def learning_rate(self) -> float:
        """Learning rate of the current update."""
        position = self.state.position
        factor = learning_rate_factor(
            self.recipe.schedule, position.update, self.total_updates, position.plateaus
        )
        return self.recipe.optimizer.learning_rate * factor

    def _norms(self, watch: bool) -> dict[str, Tensor]:
        """Gradient norm of the whole model, and with `watch` of its parts."""
        parameters = self.state.parameters
        gradients = [p.grad for p in parameters.values() if p.grad is not None]
        norms = {WHOLE: torch.nn.utils.get_total_norm(gradients)}
        return self.group.whole_norms({**norms, **(_part_norms(parameters) if watch else {})})

    def _step(self, norm: Tensor) -> bool | Tensor:
        """Clip and step, unless a gradient is not finite: it would destroy the weights.

        Returns whether the step was left out. A CPU reads the norm at no cost; on a GPU the host
        would wait for it, so the device decides.
        """
        optimizer, clip_norm = self.state.optimizer, self.recipe.clip_norm
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate()
        left_out: bool | Tensor
        if self.device.type == "cpu":
            left_out = not bool(torch.isfinite(norm))
            if not left_out:
                if clip_norm is not None:
                    parameters = self.state.parameters.values()
                    torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
                optimizer.step()
        else:
            left_out = masked_step(optimizer, norm, clip_norm)
        optimizer.zero_grad(set_to_none=True)
        return left_out


class _Passed(NamedTuple):
    """The result of one pass."""

    sums: Tensor
    carried: Carried


def _rows_of(carried: Carried, rows: slice) -> Carried:
    """The carried states of some rows."""
    if carried is None:
        return None
    return tuple(tuple(one[rows] for one in state) for state in carried)


def _joined(parts: Sequence[Carried]) -> Carried:
    """The carried states of adjacent rows; None where the objective carries none."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    layers = zip(*known, strict=True)
    return tuple(tuple(torch.cat(ones) for ones in zip(*states, strict=True)) for states in layers)


def _part_norms(parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """Gradient norm of each layer or module: a part without gradient does not learn."""
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            names = name.split(".")
            depth = 3 if len(names) > 3 and names[2].isdecimal() else 2
            part = ".".join(names[: min(depth, len(names) - 1)])
            parts.setdefault(part, []).append(parameter.grad)
    return {part: torch.nn.utils.get_total_norm(grads) for part, grads in parts.items()}
