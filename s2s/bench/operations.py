"""How many floating-point operations a model's work takes, as docs/benchmarks.md states it.

A product [m, k] x [k, n] is 2 m k n operations, and a backward pass twice its forward pass, as in
Narayanan et al. 2021 (Megatron-LM, appendix). Nothing else counts: no gate, softmax or optimizer,
and no padding.
"""

from dataclasses import dataclass

from torch import nn

from s2s.nn.attention import AdditiveScores, BilinearScores
from s2s.nn.model import Seq2Seq
from s2s.nn.rnn import LSTMLayer

FORWARD, TRAINING = 1, 3
"""Passes: a backward pass counts for two."""


@dataclass(frozen=True)
class Operations:
    """Multiplications, each with its addition, of one forward pass."""

    sentence: int
    """Of a pair: the decoder's first state."""
    source: int
    """Of a source token, end of sentence included: encoder and keys of attention."""
    target: int
    """Of a prediction: decoder, readout, output layer, the query of attention."""
    look: int
    """Of a prediction looking at one source token: its score and its share of the context."""

    @classmethod
    def of(cls, model: Seq2Seq) -> "Operations":
        """Those of a model, counted by its matrices: one for each weight a token meets."""
        encoder, decoder, scores = model.encoder, model.decoder, model.decoder.scores
        assert encoder is not None, "a text is read"
        source, target = _weights(encoder), _weights(decoder.layers) + _weights(decoder.readout)
        target += model.output.weight.numel()
        if decoder.gate is not None:
            target += _weights(decoder.gate)
        look = encoder.width
        match scores:
            case None:
                look = 0
            case BilinearScores():
                source += _weights(scores)
                look += decoder.width
            case AdditiveScores():
                source += scores.source.weight.numel()
                target += scores.query.weight.numel()
                look += scores.vector.weight.numel()
        return cls(decoder.bridge.weight.numel(), source, target, look)

    def forward(self, sentences: float, sources: float, targets: float, looks: float) -> float:
        """Operations of one pass over so many sentences, source tokens, predictions and pairs of
        a prediction and a source token."""
        return 2.0 * (
            sentences * self.sentence
            + sources * self.source
            + targets * self.target
            + looks * self.look
        )


def _weights(module: nn.Module) -> int:
    """Entries of all matrices in it: an LSTM layer's two, a linear layer's one."""
    return sum(
        part.input_weight.numel() + part.recurrent_weight.numel()
        if isinstance(part, LSTMLayer)
        else part.weight.numel()
        for part in module.modules()
        if isinstance(part, LSTMLayer | nn.Linear)
    )
