"""Training speed with and without optimizations for the kernels of a CPU; the variants take turns.

    python benchmarks/train.py [--run DIR] [--decoder luong fed ...] [--batch-tokens 4096]
        [--threads 1] [--updates 5] [--repeats 5] [--profile]
    python benchmarks/train.py --losses 120 [--run DIR] [--decoder ...] [--seed 1]
        [--precision auto]

A model of the Multi30k recipe's sizes trains, in bf16 where that is faster, on batches of a run's
corpus or, without a run, of random sentences: a sample of an epoch's batches, from the fewest rows
to the most. The script prints median target tokens per second and their ratio to the first variant:

- `any rows, plain loss`: batches of as many pairs as fit, the loss in float32;
- `plain loss`: the number of pairs is a multiple of 16 (`s2s.data.batches`);
- `gradients by step`: also, the loss stays in bf16 (`s2s.training.loss.cross_entropy_bf16`); where
  the decoder is a loop, autograd computes the gradients of its matrices at every step;
- `as it is`: also, these gradients are one product each (`s2s.nn.loop_linear`).

Two rounds before are not counted: they prepare kernels and let memory grow. `--profile` prints the
operators that take most of the time. `--losses` measures no time: `plain loss`, `gradients by step`
and `as it is` each make that many updates over the same batches, and the script prints the mean
loss of the last 20 and the largest difference from the variant before. `s2s bench` prints shares of
a limit and of stages.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from s2s.data import batches as batches_module
from s2s.data.batches import batch_plan, collate
from s2s.data.store import Corpus
from s2s.nn.batch import Batch
from s2s.nn.device import Precision, choose_precision, keep_freed_memory
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import AnyDecoder, Dropout, Encoder, GeneralAttention, Model
from s2s.recipe.model import BahdanauDecoder as Bahdanau
from s2s.recipe.model import LuongDecoder as Luong
from s2s.recipe.model import StackedDecoder as Stacked
from s2s.recipe.train import Train
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.loss import cross_entropy as loss_module
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE
from s2s.training.update import Updater

VOCABULARY = 8000
DECODERS: dict[str, AnyDecoder] = {
    "luong": Luong(kind="luong", width=512),
    "stacked": Stacked(kind="stacked", width=512),
    "fed": Luong(kind="luong", width=512, input_feeding=True),
    "bahdanau": Bahdanau(kind="bahdanau", width=512),
}
DROPOUT = Dropout(embedding=0.3, encoder=0.3, decoder=0.2, readout=0.2)
WAYS = {
    "any rows, plain loss": (False, False, False),
    "plain loss": (True, False, False),
    "gradients by step": (True, True, False),
    "as it is": (True, True, True),
}
"""Whether the number of pairs is a multiple of 16, the loss stays in bf16, and each gradient of a
loop's matrix is one product."""


class EveryStep(LoopLinear):
    """A `LoopLinear` whose gradients autograd computes step by step."""

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        self.matrix, self.bias = matrix, bias

    def __call__(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        y = x @ self.matrix.mT
        added = self.bias if known is None else known
        return y if added is None else y + added.to(y.dtype)


def users_of_loop_linear() -> list[ModuleType]:
    """The modules that have imported `LoopLinear`."""
    found = [module for name, module in sys.modules.items() if name.startswith("s2s.nn.")]
    return [module for module in found if vars(module).get("LoopLinear") is LoopLinear]


@contextmanager
def way(has_blocks: bool, is_packed: bool, is_repeated: bool) -> Iterator[None]:
    """Train in one of WAYS inside the `with` statement."""
    most = batches_module.ONE_BLOCK if has_blocks else 10**9
    is_packed = is_packed and loss_module.runs_packed()
    with (
        patch.object(batches_module, "ONE_BLOCK", most),
        patch.object(loss_module, "runs_packed", lambda: is_packed),
        ExitStack() as loops,
    ):
        for module in () if is_repeated else users_of_loop_linear():
            loops.enter_context(patch.object(module, "LoopLinear", EveryStep))
        yield


def open_or_draw(run: Path | None) -> Corpus:
    """A run's training split, or random sentences with lengths like Multi30k's."""
    if run is not None:
        from s2s.data.preparation.prepare import open_corpus

        return open_corpus(run, "train")
    draw = np.random.default_rng(1)
    source = np.clip(draw.normal(13, 4.5, 20_000), 3, 45).astype(np.int64)
    target = np.clip(source + draw.normal(0, 2, 20_000), 3, 45).astype(np.int64)
    offsets = [np.concatenate([[0], np.cumsum(lengths)]) for lengths in (source, target)]
    values = [draw.integers(4, VOCABULARY, int(ends[-1])).astype(np.int32) for ends in offsets]
    return Corpus(values[0], offsets[0], values[1], offsets[1])


@dataclass
class Training:
    """A model, and the batches that it trains on in every round."""

    updater: Updater
    batches: list[Batch]

    @classmethod
    def of(
        cls,
        decoder: AnyDecoder,
        corpus: Corpus,
        batch_tokens: int,
        updates: int,
        *,
        seed: int = 1,
        precision: Precision,
    ) -> Training:
        """A model with random weights."""
        torch.manual_seed(1)
        recipe = Model(
            embeddings=256,
            encoder=Encoder(width=256),
            decoder=decoder,
            attention=GeneralAttention(kind="general"),
            dropout=DROPOUT,
        )
        state = TrainingState(Seq2Seq(recipe, VOCABULARY, VOCABULARY).train(), Train())
        lengths = (corpus.source_lengths, corpus.target_lengths)
        plan = batch_plan(lengths, batch_tokens, seed=1, epoch=0, multiple=TIME_MULTIPLE)
        by_rows = sorted(plan, key=len)
        places = (np.arange(updates) + 0.5) / updates * len(by_rows)
        batches = [collate(corpus, by_rows[int(place)], TIME_MULTIPLE) for place in places]
        return cls(Updater(state, Seq2SeqObjective(state.recipe), seed, precision, 10_000), batches)

    def rate(self) -> float:
        """Target tokens per second of one round, which updates with each batch once."""
        began = time.perf_counter()
        tokens = sum(self.updater([batch]).tokens for batch in self.batches)
        return tokens / (time.perf_counter() - began)


def losses(decoder: AnyDecoder, corpus: Corpus, arguments: argparse.Namespace) -> None:
    """Print how much the losses of the variants differ."""
    before: list[float] = []
    for name, kind in list(WAYS.items())[1:]:
        sizes = (arguments.batch_tokens, arguments.losses)
        how = {
            "seed": arguments.seed,
            "precision": choose_precision(arguments.precision, torch.device("cpu")),
        }
        with way(*kind):
            training = Training.of(decoder, corpus, *sizes, **how)
            updates = [training.updater([batch]) for batch in training.batches]
        found = [float(update.nll) / update.tokens for update in updates]
        apart = [abs(one - other) for one, other in zip(found, before, strict=False)]
        last = sum(found[-20:]) / 20
        print(
            f"{decoder.kind:8} {name:20} last 20: {last:.4f}, apart by {max(apart, default=0):.6f}"
        )
        before = found


def compare(decoder: AnyDecoder, corpus: Corpus, arguments: argparse.Namespace) -> dict[str, float]:
    """Median rate of each variant."""
    trainings = {}
    for name, kind in WAYS.items():
        with way(*kind):
            sizes = (arguments.batch_tokens, arguments.updates)
            training = Training.of(decoder, corpus, *sizes, precision=arguments.precision)
            training.rate()
            training.rate()
        trainings[name] = training
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(arguments.repeats):
        for name, kind in WAYS.items():
            with way(*kind):
                rates[name].append(trainings[name].rate())
    if arguments.profile:
        profile(trainings["as it is"])
    return {name: statistics.median(found) for name, found in rates.items()}


def profile(training: Training) -> None:
    """Print the operators that take most of a round."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        training.rate()
    averages = found.key_averages(group_by_input_shape=True)
    print(averages.table(sort_by="self_cpu_time_total", row_limit=40))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--decoder", choices=DECODERS, nargs="+", default=list(DECODERS))
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--losses", type=int, metavar="UPDATES")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    arguments = parser.parse_args()
    arguments.precision = choose_precision(arguments.precision, torch.device("cpu"))
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    corpus = open_or_draw(arguments.run)
    print(f"batches of {arguments.batch_tokens} tokens, {arguments.threads} threads")
    for name in arguments.decoder:
        if arguments.losses:
            losses(DECODERS[name], corpus, arguments)
            continue
        rates = compare(DECODERS[name], corpus, arguments)
        first = rates[next(iter(WAYS))]
        for way_name, found in rates.items():
            print(
                f"{name:8} {way_name:20} {found:7.0f} tokens/s, {found / first:.2f} x", flush=True
            )


if __name__ == "__main__":
    main()
