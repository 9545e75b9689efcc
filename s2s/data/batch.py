"""A batch: ids, lengths and keys; no text."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B pairs of token ids, padded with PAD.

    Dimension letters: B sentences, S source time, T target time.
    """

    source: Tensor
    """int64 [B, S]; every source ends with EOS."""
    source_lengths: Tensor
    """int64 [B], EOS included."""
    target_input: Tensor
    """int64 [B, T]; BOS, then the target: what the decoder reads."""
    target_output: Tensor
    """int64 [B, T]; the target, then EOS: what it should say. PAD beyond the end."""
    target_lengths: Tensor
    """int64 [B], EOS included."""

    def to(self, device: str) -> "Batch":
        """The batch on `device`; copies from pinned memory do not wait."""
        moved = (
            tensor.to(device, non_blocking=True)
            for tensor in (
                self.source,
                self.source_lengths,
                self.target_input,
                self.target_output,
                self.target_lengths,
            )
        )
        return Batch(*moved)
