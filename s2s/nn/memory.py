"""The encoded source, and the state of a decoder between two steps.

Dimension letters: B sentences, S source time, D encoder state width, N rows (N = B*Q
hypotheses, those of a sentence adjacent), H decoder width, Q queries of a sentence, E embedding
width.
"""

from dataclasses import dataclass

from torch import Tensor

from s2s.nn.cells.base import CellState
from s2s.nn.row_state import TensorRows


@dataclass(frozen=True)
class Memory(TensorRows):
    """B encoded sources. Along S are a text with its EOS, then the regions of each feature file."""

    states_BSD: Tensor
    """Encoder states, exactly zero at padding."""
    keys: Tensor
    """`AttentionScore.keys` of the states; the states themselves without attention."""
    mask_BS: Tensor
    """bool, true at words and regions."""
    final_BD: Tensor
    """The source as one vector: the last state of each direction of a text, the mean of regions, a
    learned combination of several sources."""
    words_BS: Tensor | None = None
    """bool, true at words and regions, false at a text's EOS: the positions that coverage counts;
    None without attention."""
    copies_BS: Tensor | None = None
    """int64, the id of each word in the extended target vocabulary (`s2s.nn.pointer`), PAD
    elsewhere; None in a model that does not copy."""
    first_BS: Tensor | None = None
    """int64, the first position with the same id."""
    readouts_BSE: Tensor | None = None
    """U s, the part of readouts that depends on the position, in a model of hard attention."""
    labels_BTV: Tensor | None = None
    """float32, the logits of labels at their places (`s2s.nn.label_scores`); None in a model that
    has none."""
    values: Tensor | None = None
    """`AttentionScore.values` of the states; None where attention sums the states themselves."""


@dataclass(frozen=True)
class DecoderState(TensorRows):
    """The state of N rows between two steps."""

    layers: tuple[CellState, ...]
    """Of each layer."""
    fed: Tensor | None = None
    """Attentional vector of the previous step [N, E], with input feeding."""
    coverage: Tensor | None = None
    """float32 [N, S], each position's attention so far, with coverage in the score."""
    alignment: tuple[Tensor, ...] | None = None
    """Of the previous step in a model of hard monotonic attention (`s2s.nn.decoders.hard`)."""
    place: Tensor | None = None
    """int64 [N], the number of labels so far, in a model of labels."""
