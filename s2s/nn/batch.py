"""A batch of ids, lengths and image features, without text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from s2s.nn.device import to_device


@dataclass(frozen=True)
class Batch:
    """B pairs of token ids, padded with PAD.

    Dimension letters: B sentences, S source time, T target time.
    """

    source: Tensor
    """int64 [B, S]; every source ends with EOS. Where there is no text, S is 0."""
    source_lengths: Tensor
    """int64 [B], EOS included; 0 where there is no text."""
    target_input: Tensor
    """int64 [B, T], the decoder's input: BOS, then the target."""
    target_output: Tensor
    """int64 [B, T], its expected output: the target, then EOS, then PAD."""
    target_lengths: Tensor
    """int64 [B], EOS included."""
    features: tuple[Regions, ...] = ()
    """One of each feature file."""
    teacher: Predicted | None = None
    """The distributions of teachers over the expected outputs, in distillation."""
    alignment: Tensor | None = None
    """bool [B, T, S]: the source tokens that each target token is linked to, in training with
    guided alignment."""
    places: Tensor | None = None
    """int64 [B], the place of each pair in the training data; None of a batch of other data."""

    @property
    def tokens(self) -> int:
        """Positions of the longer side, padding included, which `batch_tokens` limits."""
        regions = sum(one.values_BRD.shape[1] for one in self.features)
        rows, source = self.source.shape
        return rows * max(source + regions, self.target_output.shape[1])

    def to(self, device: str) -> Batch:
        """The batch on `device`, copied without waiting."""
        return self._each(lambda tensor: to_device(tensor, device))

    def repeated(self, times: int) -> Batch:
        """The batch with every pair `times` times, one after the other."""
        return self._each(lambda tensor: tensor.repeat_interleave(times, dim=0))

    def halves(self) -> tuple[Batch, ...]:
        """The pairs in two batches, padded as the whole is; a single pair stays one batch."""
        middle = len(self.target_lengths) // 2
        if not middle:
            return (self,)
        return (
            self._each(lambda tensor: tensor[:middle]),
            self._each(lambda tensor: tensor[middle:]),
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            source=change(self.source),
            source_lengths=change(self.source_lengths),
            target_input=change(self.target_input),
            target_output=change(self.target_output),
            target_lengths=change(self.target_lengths),
            features=tuple(Regions(*map(change, regions)) for regions in self.features),
            teacher=None if self.teacher is None else Predicted(*map(change, self.teacher)),
            alignment=None if self.alignment is None else change(self.alignment),
            places=None if self.places is None else change(self.places),
        )


class Predicted(NamedTuple):
    """The K most probable tokens of distributions over B targets of T tokens."""

    ids_BTK: Tensor
    """int64."""
    probabilities_BTK: Tensor
    """float32; they sum to 1, and are 0 beyond the end of a target."""


class Regions(NamedTuple):
    """The features of B samples, of one file."""

    values_BRD: Tensor
    """float32, zero after the last region."""
    lengths_B: Tensor
    """int64, the number of regions of each, at least one."""

    def to(self, device: str) -> Regions:
        """The features on `device`, copied without waiting."""
        return Regions(*(to_device(part, device) for part in self))
