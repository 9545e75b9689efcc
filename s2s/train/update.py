"""One update of the parameters: forward, backward, clip, step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from s2s.errors import TrainingError
from s2s.nn.batch import Batch
from s2s.nn.device import Precision, autocast, fp32_of
from s2s.recipe.train import Train
from s2s.train.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from s2s.train.lr_schedule import learning_rate_factor
from s2s.train.masked_step import masked_step
from s2s.train.objective import Objective
from s2s.train.state import TrainingState

WHOLE = ""
"""The whole model, among the names of its parts."""


@dataclass(frozen=True)
class Update:
    """What one update saw. Tensors stay on the device: reading them would wait for it."""

    smoothed: Tensor
    """Minimized loss, summed over tokens."""
    nll: Tensor
    """Negative log-likelihood, summed over tokens."""
    tokens: int
    """Target tokens, end of sentence included."""
    gradient_norm: Tensor
    """Before clipping, of the loss averaged over tokens."""
    readout_deviation: Tensor
    """Standard deviation of the readout; near 1 means a saturated tanh, through which nothing is
    learned."""
    learning_rate: float
    part_norms: dict[str, Tensor] | None
    """Gradient norm of each part of the model, where it was asked for."""
    parts: int
    """Passes that this process took: more than it had batches where memory did not suffice."""


def update_seed(seed: int, update: int, rank: int = 0) -> int:
    """Seed of what is random in an update, another one for every (seed, update, rank) in practice.

    Generators on a CPU look at the lowest 32 bits alone, so all numbers have to reach these. A
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
"""In the text of errors that have no type of their own: the system gave a CPU's tensors none, or a
GPU's libraries found none for themselves."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left, or the system gave none."""
    is_told = any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, torch.OutOfMemoryError) or is_told


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

        The loss is averaged over all their tokens, not over batches; where they are only this
        process's share of the update, `tokens` says how many there are in all. `watch` asks for the
        gradient norms of the model's parts.

        Where memory does not suffice, the update is made of half batches, of quarters and so on:
        the gradient is the same but for rounding and what dropout draws. Raises TrainingError
        where it does not suffice for single pairs.
        """
        state, position = self.state, self.state.position
        position.update += 1
        if tokens is None:
            tokens = sum(int(batch.target_lengths.sum()) for batch in batches)
        parts = [part for batch in batches for part in self._fitting(batch)]
        while (sums := self._gradients(parts, tokens)) is None:
            parts = self._halved(parts)
        sums = self.group.sum_gradients(state.parameters, sums)
        norms = self._norms(watch)
        norm = norms.pop(WHOLE)
        left_out = self._step(norm)
        position.tokens += tokens
        state.update_average(left_out)
        self.on_stage("optimizer")
        smoothed, nll, deviation, num_parts = sums
        return Update(
            smoothed,
            nll,
            tokens,
            norm,
            deviation / num_parts,
            self.learning_rate(),
            norms if watch else None,
            len(parts),
        )

    def fits(self, batch: Batch) -> bool:
        """Whether memory suffices for a pass over a batch; its gradients are thrown away."""
        is_done = self._gradients([batch], int(batch.target_lengths.sum())) is not None
        self._forget_gradients()
        return is_done

    def _fitting(self, batch: Batch) -> list[Batch]:
        """The batch in parts of no more than `pass_tokens`."""
        halves = batch.halves()
        if self.pass_tokens is None or batch.tokens <= self.pass_tokens or len(halves) == 1:
            return [batch]
        return [part for half in halves for part in self._fitting(half)]

    def _gradients(self, batches: Sequence[Batch], tokens: int) -> Tensor | None:
        """Accumulate gradients of the loss averaged over `tokens`; None where memory ran out.

        Sums of the smoothed loss, the nll, the deviation of readouts and their number.
        """
        torch.manual_seed(update_seed(self.seed, self.state.position.update, self.group.rank))
        sums = torch.zeros(4, device=self.device)
        try:
            for batch in batches:
                sums += self._pass(batch, tokens)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        return sums

    def _pass(self, batch: Batch, tokens: int) -> Tensor:
        with fp32_of(self.precision, self.device):
            with autocast(self.precision, self.device):
                found = self.objective.loss(self.state.model, batch, self.state.position.update)
            self.on_stage("forward")
            (found.loss / tokens).backward()  # type: ignore[no-untyped-call]
            self.on_stage("backward")
        one = torch.ones_like(found.diagnostic)
        return torch.stack((found.loss.detach(), found.nll.detach(), found.diagnostic, one))

    def _halved(self, batches: Sequence[Batch]) -> list[Batch]:
        """The batches for another try, once memory ran out somewhere on the way."""
        self._forget_gradients()  # part of them may have been computed
        halves = [half for batch in batches for half in batch.halves()]
        if len(halves) == len(batches):
            raise TrainingError(
                f"update {self.state.position.update}: memory does not suffice for a single pair "
                f"of {batches[0].source.shape[1]} source and {batches[0].target_output.shape[1]} "
                "target tokens; a smaller data.filters.max_length or data.truncate cuts such pairs"
            )
        return halves

    def _forget_gradients(self) -> None:
        self.state.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def learning_rate(self) -> float:
        """Of the update that was last begun."""
        position = self.state.position
        factor = learning_rate_factor(
            self.recipe.schedule, position.update, self.total_updates, position.plateaus
        )
        return self.recipe.optimizer.learning_rate * factor

    def _norms(self, watch: bool) -> dict[str, Tensor]:
        """Gradient norm of the whole model, and of its parts where they are watched."""
        parameters = self.state.parameters
        gradients = [p.grad for p in parameters.values() if p.grad is not None]
        norms = {WHOLE: torch.nn.utils.get_total_norm(gradients)}
        return self.group.whole_norms({**norms, **(_part_norms(parameters) if watch else {})})

    def _step(self, norm: Tensor) -> bool | Tensor:
        """Clip and step; whether that was left out, as where a gradient is not finite, which would
        destroy the weights. Looking at it is free on a CPU; on a GPU it would wait for the device.
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


def _part_norms(parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """Gradient norm of each layer or module: a part that gets none is not learning."""
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            names = name.split(".")
            depth = 3 if len(names) > 3 and names[2].isdecimal() else 2
            part = ".".join(names[: min(depth, len(names) - 1)])
            parts.setdefault(part, []).append(parameter.grad)
    return {part: torch.nn.utils.get_total_norm(grads) for part, grads in parts.items()}
