"""How many floating-point operations a model's work takes, as docs/benchmarks.md states it.

A product [m, k] x [k, n] is 2 m k n operations, and a backward pass twice its forward pass, as in
Narayanan et al. 2021 (Megatron-LM, appendix). Nothing else counts: no gate, softmax or optimizer,
and no padding.

Dimension letters: N pairs, F feature files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from s2s.nn.attention import AdditiveScores, BilinearScores
from s2s.nn.cells.base import Cell
from s2s.nn.model import Seq2Seq

Lengths = NDArray[np.int64]

FORWARD, TRAINING = 1, 3
"""Passes: a backward pass counts for two."""


@dataclass(frozen=True)
class Operations:
    """Multiplications, each with its addition, of one forward pass."""

    sentence: int
    """Of a pair: several sources made one vector, the decoder's first state."""
    source: int
    """Of a source token, end of sentence included: encoder and keys of attention."""
    regions: tuple[int, ...]
    """Of a region of each feature file: its encoder and keys of attention."""
    target: int
    """Of a prediction: decoder, readout, output layer, the query of attention."""
    look: int
    """Of a prediction looking at one source token or region: its score and its share of the
    context."""

    @classmethod
    def of(cls, model: Seq2Seq) -> "Operations":
        """Those of a model, counted by its matrices: one for each weight a token meets."""
        decoder, scores = model.decoder, model.decoder.scores
        sentence = decoder.bridge.weight.numel()
        if model.combination is not None:
            sentence += model.combination.weight.numel()
        target = _weights(decoder.layers) + _weights(decoder.readout) + model.output.weight.numel()
        gates = (decoder.gate, decoder.context_gate)
        target += sum(_weights(gate) for gate in gates if gate is not None)
        keys, look = 0, decoder.source_width
        match scores:
            case None:
                look = 0
            case BilinearScores():
                keys = _weights(scores)
                look += decoder.width
            case AdditiveScores():
                keys = scores.source.weight.numel()
                target += scores.query.weight.numel()
                look += scores.vector.weight.numel()
        source = 0 if model.encoder is None else _weights(model.encoder) + keys
        regions = tuple(_weights(encoder) + keys for encoder in model.features)
        return cls(sentence, source, regions, target, look)

    def forward(self, sources_N: Lengths, regions_NF: Lengths, targets_N: Lengths) -> float:
        """Operations of one pass over N pairs: so many source tokens each (0 without text),
        regions of each feature file, and predictions."""
        looked_at_N = sources_N + regions_NF.sum(axis=1)
        return 2.0 * float(
            len(sources_N) * self.sentence
            + sources_N.sum() * self.source
            + (regions_NF.sum(axis=0) * np.array(self.regions, dtype=np.int64)).sum()
            + targets_N.sum() * self.target
            + (targets_N * looked_at_N).sum() * self.look
        )


def _weights(module: nn.Module) -> int:
    """Entries of all matrices in a module that each input multiplies once."""
    return sum(
        part.multiplications if isinstance(part, Cell) else part.weight.numel()
        for part in module.modules()
        if isinstance(part, Cell | nn.Linear)
    )
