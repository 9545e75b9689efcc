"""What an encoder leaves for a decoder, and what a decoder carries from step to step.

Dimension letters: B sentences, S source time, D source state width, K key width, N rows (N = B*K
hypotheses, those of a sentence adjacent), H decoder width, Q queries of a sentence.
"""

from dataclasses import dataclass

from torch import Tensor

from s2s.nn.cells.base import CellState
from s2s.nn.row_state import TensorRows


@dataclass(frozen=True)
class Memory(TensorRows):
    """B encoded sources: along S a text with its EOS, then the regions of each feature file."""

    states_BSD: Tensor
    """Encoder states, exactly zero at padding."""
    keys: Tensor
    """The source's share of the attention score, [B, S, K] or [B, K, S], as the score reads it; the
    states themselves without attention."""
    mask_BS: Tensor
    """bool, true at words and regions."""
    final_BD: Tensor
    """The source as one vector: of a text the last state of each direction, of regions their mean,
    of several sources what a layer makes of all these."""
    words_BS: Tensor | None = None
    """bool, true at words and regions but false at a text's EOS: what is covered; None without
    attention."""
    copies_BS: Tensor | None = None
    """int64, the id of each word in the extended target vocabulary (`s2s.nn.pointer`), PAD
    elsewhere; None where a model does not copy."""
    first_BS: Tensor | None = None
    """int64, the first position with the same id."""


@dataclass(frozen=True)
class DecoderState(TensorRows):
    """The state of N rows between two steps."""

    layers: tuple[CellState, ...]
    """Of each layer."""
    fed: Tensor | None = None
    """Attentional state of the step before [N, E], where it is fed back."""
    coverage: Tensor | None = None
    """float32 [N, S], the attention that each word got so far, where it enters the score."""
