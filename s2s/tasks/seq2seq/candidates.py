"""Candidate outputs of the sources of a batch, and their log-probabilities under the model.

Dimension letters: B pairs, K most different candidates of a pair, M candidates of all pairs (those
of a pair adjacent), T target time, N predictions, S source time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from s2s.data.batches import ROW_MULTIPLE, round_up
from s2s.nn.batch import Batch
from s2s.nn.device import to_device
from s2s.nn.model import Seq2Seq
from s2s.search.hypothesis import Hypothesis
from s2s.special import BOS, EOS, PAD
from s2s.tasks.seq2seq.loss import predictions
from s2s.training.loss.cross_entropy import linear_token_nll
from s2s.training.trainer import TIME_MULTIPLE

Output = tuple[int, ...]
"""The predictions of an output: tokens, and EOS unless it was cut at the longest length."""


def output_of(hypothesis: Hypothesis) -> Output:
    """The predictions of a hypothesis."""
    return (*hypothesis.tokens, EOS) if hypothesis.finished else hypothesis.tokens


def targets_of(batch: Batch) -> list[Output]:
    """The predictions of the targets of a batch."""
    rows = zip(batch.target_output.tolist(), batch.target_lengths.tolist(), strict=True)
    return [tuple(row[:length]) for row, length in rows]


@dataclass(frozen=True)
class Candidates:
    """The different outputs of each of B pairs."""

    outputs: list[Output]
    """All M, those of a pair adjacent."""
    sizes: list[int]
    """The number of each pair's."""
    draws: list[int]
    """How often each of the M was drawn."""

    @classmethod
    def of(cls, drawn: Sequence[Sequence[Output]]) -> "Candidates":
        """The different ones among the drawn outputs of each pair, in their order."""
        outputs: list[Output] = []
        sizes: list[int] = []
        draws: list[int] = []
        for one in drawn:
            counts: dict[Output, int] = {}
            for output in one:
                counts[output] = counts.get(output, 0) + 1
            outputs.extend(counts)
            draws.extend(counts.values())
            sizes.append(len(counts))
        return cls(outputs, sizes, draws)

    @property
    def owners(self) -> list[int]:
        """The pair of each of the M."""
        return [pair for pair, size in enumerate(self.sizes) for _ in range(size)]

    @property
    def mask(self) -> Tensor:
        """bool [B, K], true at candidates: in its order of rows stand the M."""
        most = max(self.sizes)
        return torch.arange(most) < torch.tensor(self.sizes).unsqueeze(1)

    @property
    def lengths(self) -> Tensor:
        """int64 [M], the number of predictions."""
        return torch.tensor([len(output) for output in self.outputs])


def rehearsed(batch: Batch, count: int) -> Candidates:
    """Candidates for which memory must suffice: `count` of each pair, half as long again as its
    target. No search finds them, because random weights may never end an output."""
    outputs: list[Output] = []
    for *tokens, end in targets_of(batch):
        outputs.extend([(*tokens, *tokens[: len(tokens) // 2], end)] * count)
    return Candidates(outputs, [count] * len(batch.target_lengths), [1] * len(outputs))


def log_probs(model: Seq2Seq, batch: Batch, candidates: Candidates) -> Tensor:
    """The log-probability [M] of each candidate given its source, differentiable.

    Sources are encoded once, whatever the number of their candidates. The decoder reads all
    candidates as one batch, whose shape is rounded up: kernels are prepared for each.
    """
    device = model.output.bias.device
    count = len(candidates.outputs)
    rows = count if count <= ROW_MULTIPLE else round_up(count, ROW_MULTIPLE)
    time = int(round_up(max(map(len, candidates.outputs)), TIME_MULTIPLE))
    target = np.full((rows, time), PAD, dtype=np.int64)
    for row, output in zip(target, candidates.outputs, strict=False):
        row[: len(output)] = output
    target_MT = torch.from_numpy(target)
    read_MT = target_MT.masked_fill(target_MT == EOS, PAD)
    input_MT = torch.nn.functional.pad(read_MT[:, :-1], (1, 0), value=BOS)
    owners = [*candidates.owners, *[0] * (rows - count)]
    there = batch.to(str(device))
    memory = model.encode(there.source, there.source_lengths, there.features)
    memory = memory.select(to_device(torch.tensor(owners), device))
    decoded = model.decoded(memory, to_device(input_MT, device))
    found = predictions(model, memory, decoded, target_MT)
    nll_N = linear_token_nll(
        *(found.readout_NE, model.output.weight, model.output.bias, found.targets_N),
        copy_inputs=found.copy_inputs,
    )
    # Each place has one prediction, so that the sum has the same order on every device.
    nll_TM = nll_N.new_zeros(time * rows).scatter(0, found.inside_N, nll_N).view(time, rows)
    return -nll_TM.sum(0)[:count]
