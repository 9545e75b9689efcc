"""The objective of language models on a stream: cross-entropy, with the state carried on.

Dimension letters: B rows, T time, N tokens, E readout width.
"""

from typing import Any

from s2s.nn.batch import Batch
from s2s.nn.device import to_device
from s2s.nn.model import Seq2Seq
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.loss.cross_entropy import linear_cross_entropy
from s2s.training.objective import BatchLoss


class StreamObjective(Seq2SeqObjective):
    """Truncated backpropagation through time: gradients end where a window begins."""

    def loss(self, model: Seq2Seq, batch: Batch, update: int, carried: Any = None) -> BatchLoss:
        """See `Objective`. A window has no padding."""
        device = model.output.bias.device
        there = batch.to(str(device))
        readout_TBE, states = model.continued(there.target_input, carried)
        readout_NE = readout_TBE.flatten(0, 1)
        targets_N = to_device(batch.target_output.t().reshape(-1), device)
        output = (model.output.weight, model.output.bias)
        found = linear_cross_entropy(readout_NE, *output, targets_N, self.recipe.label_smoothing)
        left = tuple(tuple(one.detach() for one in state) for state in states)
        return BatchLoss(found.smoothed, found.nll, readout_NE.detach().float().std(), left)
