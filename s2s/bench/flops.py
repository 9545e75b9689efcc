"""Floating-point operations of a model, counted as docs/benchmarks.md says.

A product [m, k] x [k, n] is 2 m k n operations, and a backward pass twice its forward pass, as in
Narayanan et al. 2021 (Megatron-LM, appendix). Gates, softmax, optimizer and
padding do not count.

Dimension letters: N pairs, F feature files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from s2s.nn.cells.base import Cell
from s2s.nn.decoders.hard import Hard
from s2s.nn.model import Seq2Seq

Lengths = NDArray[np.int64]

FORWARD, TRAINING = 1, 3
"""Passes: a backward pass counts for two."""


@dataclass(frozen=True)
class Operations:
    """Multiply-add operations of one forward pass."""

    sentence: int
    """Of a pair: the combination of several sources, the decoder's first state."""
    source: int
    """Of a source token, end of sentence included: encoder and keys of attention."""
    regions: tuple[int, ...]
    """Of a region of each feature file: its encoder and keys of attention."""
    target: int
    """Of a prediction: decoder, readout, output layer, the query of attention."""
    pair: int
    """Of a prediction and one source token or region: its score and its part of the context; with
    hard attention its score and the output layer."""

    @classmethod
    def of(cls, model: Seq2Seq) -> "Operations":
        """Those of a model: one for each weight that a token is multiplied with."""
        decoder, scores = model.decoder, model.decoder.scores
        sentence = 0 if decoder.bridge is None else decoder.bridge.weight.numel()
        if model.combination is not None:
            sentence += model.combination.weight.numel()
        output, position = model.output.weight.numel(), 0
        if isinstance(decoder, Hard):  # every position predicts
            target = weights_of(decoder.layers) + weights_of(decoder.readout.state)
            position = weights_of(decoder.readout.source)
        else:
            target = weights_of(decoder.layers) + weights_of(decoder.readout) + output
        gates = (decoder.gate, decoder.context_gate)
        target += sum(weights_of(gate) for gate in gates if gate is not None)
        key, pair = 0, 0
        if scores is not None:
            key, query, pair = scores.multiplications
            target += query
            pair += (
                output if isinstance(decoder, Hard) else scores.summed_width(decoder.source_width)
            )
            key += position
        source = 0 if model.encoder is None else weights_of(model.encoder) + key
        regions = tuple(weights_of(encoder) + key for encoder in model.features)
        return cls(sentence, source, regions, target, pair)

    def forward(self, sources_N: Lengths, regions_NF: Lengths, targets_N: Lengths) -> float:
        """Operations of one pass over N pairs, from each one's source tokens (0 without text),
        regions of each feature file, and predictions."""
        memory_N = sources_N + regions_NF.sum(axis=1)
        return 2.0 * float(
            len(sources_N) * self.sentence
            + sources_N.sum() * self.source
            + (regions_NF.sum(axis=0) * np.array(self.regions, dtype=np.int64)).sum()
            + targets_N.sum() * self.target
            + (targets_N * memory_N).sum() * self.pair
        )


def weights_of(module: nn.Module) -> int:
    """Entries of all matrices in a module that each input multiplies once."""
    if isinstance(module, Cell):
        return module.multiplications
    if isinstance(module, nn.Linear):
        return module.weight.numel()
    return sum(weights_of(child) for child in module.children())
