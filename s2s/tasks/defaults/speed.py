"""Measures how long an update takes on the machine at hand, with random tokens."""

import time
from dataclasses import dataclass, replace

import torch

from s2s.nn.batch import Batch
from s2s.nn.device import choose_precision, limit_threads
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.special import BOS, EOS, SPECIAL_PIECES
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE
from s2s.training.update import Updater

WARM_UPDATES, TIMED_UPDATES = 3, 9
"""Updates before the measurement, which prepare kernels, and those that are timed."""

LONGEST = 250
"""Tokens of the longest sentence that is measured: longer ones are cut or dropped, and a batch of
them could take all memory."""

MANY_UPDATES = 10_000
"""Updates that the schedule of the measurement believes in."""


@dataclass(frozen=True)
class BatchShape:
    """An average batch; lengths count the end of sentence."""

    pairs: int
    source_length: float
    target_length: float
    source_vocabulary: int
    target_vocabulary: int

    @property
    def target_tokens(self) -> float:
        """Target tokens of the batch."""
        return self.pairs * self.target_length


def seconds_per_update(recipe: Recipe, shape: BatchShape, device: torch.device) -> float:
    """The shortest duration of an update of the recipe's model, in seconds: what the machine can
    do while nothing else disturbs it.

    A pointer network's own work is left out, which is some tenths of the whole.
    """
    limit_threads(recipe.model, device, 1)
    torch.manual_seed(recipe.seed)
    plain = replace(recipe.model, copy="none", image_features=())
    fewest = len(SPECIAL_PIECES) + 1
    vocabularies = (max(fewest, shape.source_vocabulary), max(fewest, shape.target_vocabulary))
    model = Seq2Seq(plain, *vocabularies)
    state = TrainingState(model.to(device).train(), recipe.train)
    precision = choose_precision(recipe.train.precision, device)
    objective = Seq2SeqObjective(replace(recipe.train, coverage_loss=0.0))
    updater = Updater(state, objective, recipe.seed, precision, MANY_UPDATES)
    batch = _batch(shape).to(str(device))
    seconds = []
    for _ in range(WARM_UPDATES + TIMED_UPDATES):
        began = time.perf_counter()
        updater([batch])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[WARM_UPDATES:])


def _batch(shape: BatchShape) -> Batch:
    """Random tokens; all sentences are equally long, as in a bucket."""
    first = len(SPECIAL_PIECES)
    source, target = (
        torch.randint(first, max(first + 1, vocabulary), (shape.pairs, _padded(length)))
        for vocabulary, length in (
            (shape.source_vocabulary, shape.source_length),
            (shape.target_vocabulary, shape.target_length),
        )
    )
    source[:, -1] = EOS
    target[:, -1] = EOS
    start = torch.full((shape.pairs, 1), BOS)
    return Batch(
        source=source,
        source_lengths=torch.full((shape.pairs,), source.shape[1]),
        target_input=torch.cat((start, target[:, :-1]), dim=1),
        target_output=target,
        target_lengths=torch.full((shape.pairs,), target.shape[1]),
    )


def _padded(length: float) -> int:
    """A length as batches have it: a multiple of `TIME_MULTIPLE`."""
    whole = round(min(length, LONGEST) / TIME_MULTIPLE) * TIME_MULTIPLE
    return max(TIME_MULTIPLE, whole)
