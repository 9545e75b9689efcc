"""How fast training is, and where its time goes.

    python tests/bench_train.py [--run DIR] [--decoder luong stacked] [--batch-tokens 4096]
        [--threads 1] [--precision auto] [--updates 12] [--repeats 5] [--profile]

Models have the sizes of the Multi30k recipe (8,000 pieces, embeddings 256, a bidirectional encoder
of 2 x 256, a decoder of 512); lengths are a run's or, without one, drawn. Updates go over the same
few batches again and again; what the first two rounds prepare is not counted.

Told are medians over rounds: target tokens per second, where their time goes, and floating point
operations per second. These are counted as in Megatron-LM: a product [m, k] x [k, n] is 2 m k n, a
backward pass twice its forward pass, nothing else counts, and padding does not count either; the
share is of what a square product of 2048 reaches in the same precision in the same process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from s2s.data.batch import Batch
from s2s.data.batches import batch_plan, collate
from s2s.data.store import Corpus
from s2s.nn.model import Seq2Seq
from s2s.recipe import Decoder, Dropout, Encoder, GeneralAttention, Model, Train
from s2s.recipe import LuongDecoder as Luong
from s2s.recipe import StackedDecoder as Stacked
from s2s.train.device import autocast, choose_precision, keep_freed_memory
from s2s.train.loop import TIME_MULTIPLE
from s2s.train.state import TrainingState
from s2s.train.update import Updater, batch_loss, update_seed

VOCABULARY = 8000
DECODERS: dict[str, Decoder] = {
    "luong": Luong(kind="luong", width=512),
    "stacked": Stacked(kind="stacked", width=512),
}
DROPOUT = Dropout(embedding=0.3, encoder=0.3, decoder=0.2, readout=0.2)
PARTS = ("data", "forward", "backward", "step")


def corpus(run: Path | None) -> Corpus:
    """A run's training split, or one whose lengths are like Multi30k's."""
    if run is not None:
        from s2s.data.prepare import open_corpus

        return open_corpus(run, "train")
    draw = np.random.default_rng(1)
    lengths = np.clip(draw.normal(13, 4.5, 20_000), 3, 45).astype(np.int64)
    others = np.clip(lengths + draw.normal(0, 2, 20_000), 3, 45).astype(np.int64)
    offsets = [np.concatenate([[0], np.cumsum(part)]) for part in (lengths, others)]
    values = [draw.integers(4, VOCABULARY, int(part[-1])).astype(np.int32) for part in offsets]
    return Corpus(values[0], offsets[0], values[1], offsets[1])


def operations(recipe: Model, batch: Batch) -> float:
    """Of one update's matrix products."""
    source, target = int(batch.source_lengths.sum()), int(batch.target_lengths.sum())
    looks = int((batch.source_lengths * batch.target_lengths).sum())
    width, states = recipe.decoder.width, 2 * recipe.encoder.width
    encoder = 2 * 4 * recipe.encoder.width * (recipe.embeddings + recipe.encoder.width)
    decoder = 4 * width * (recipe.embeddings + width)
    readout = (width + states) * recipe.embeddings
    if isinstance(recipe.decoder, Stacked):
        decoder += 4 * width * (width + states + width)
        readout += recipe.embeddings**2
    per_target = decoder + readout + recipe.embeddings * VOCABULARY
    forward = source * (encoder + states * width) + target * per_target + looks * (width + states)
    return 3.0 * 2.0 * forward


def product_rate(precision: str) -> float:
    """Operations per second of the best of 20 square products."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    x, y = torch.rand(2, 2048, 2048).to(kind)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        torch.mm(x, y)
        times.append(time.perf_counter() - began)
    return float(2 * 2048**3 / min(times))


@dataclass
class Bench:
    """A model in training, and the pairs of the batches it goes over."""

    recipe: Model
    updater: Updater
    corpus: Corpus
    pairs: Sequence[np.ndarray]

    @classmethod
    def of(cls, decoder: Decoder, corpus: Corpus, arguments: argparse.Namespace) -> Bench:
        """With random weights, and `updates` of an epoch's batches, short and long."""
        torch.manual_seed(1)
        recipe = Model(
            embeddings=256,
            encoder=Encoder(width=256),
            decoder=decoder,
            attention=GeneralAttention(kind="general"),
            dropout=DROPOUT,
        )
        cpu = torch.device("cpu")
        train = replace(Train(), batch_tokens=arguments.batch_tokens)
        state = TrainingState(Seq2Seq(recipe, VOCABULARY, VOCABULARY).train(), train)
        updater = Updater(state, 1, choose_precision(arguments.precision, cpu), 10_000)
        lengths = (corpus.source_lengths, corpus.target_lengths)
        plan = batch_plan(lengths, arguments.batch_tokens, seed=1, epoch=0, multiple=TIME_MULTIPLE)
        by_rows = sorted(plan, key=len)
        places = (np.arange(arguments.updates) + 0.5) / arguments.updates * len(by_rows)
        return cls(recipe, updater, corpus, [by_rows[int(place)] for place in places])

    def batches(self) -> list[Batch]:
        """All of them."""
        return [collate(self.corpus, pairs, TIME_MULTIPLE) for pairs in self.pairs]

    def round(self) -> list[float]:
        """One update of each batch: seconds of each of PARTS, as `Updater` does them."""
        seconds = [0.0] * len(PARTS)
        updater, state = self.updater, self.updater.state
        for pairs in self.pairs:
            clock = [time.perf_counter()]
            batch = collate(self.corpus, pairs, TIME_MULTIPLE)
            clock.append(time.perf_counter())
            state.position.update += 1
            torch.manual_seed(update_seed(1, state.position.update))
            with autocast(updater.precision, updater.device):
                loss, _ = batch_loss(state.model, batch, 0.1)
            clock.append(time.perf_counter())
            (loss.smoothed / int(batch.target_lengths.sum())).backward()  # type: ignore[no-untyped-call]
            clock.append(time.perf_counter())
            updater._step()
            state.update_average()
            clock.append(time.perf_counter())
            for part, (began, ended) in enumerate(pairwise(clock)):
                seconds[part] += ended - began
        return seconds


def profile(bench: Bench) -> None:
    """Print the operators that take most of a round's time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CPU]) as found:
        bench.round()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--decoder", choices=DECODERS, nargs="+", default=list(DECODERS))
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    found = corpus(arguments.run)
    for name in arguments.decoder:
        bench = Bench.of(DECODERS[name], found, arguments)
        precision = bench.updater.precision
        bench.round()  # kernels are prepared
        bench.round()  # memory has grown
        taken = [bench.round() for _ in range(arguments.repeats)]
        rate = product_rate(precision)
        batches = bench.batches()
        tokens = sum(int(batch.target_lengths.sum()) for batch in batches)
        done = sum(operations(bench.recipe, batch) for batch in batches)
        seconds = statistics.median(sum(parts) for parts in taken)
        split = [statistics.median(parts) for parts in zip(*taken, strict=True)]
        shares = ", ".join(
            f"{part} {s / seconds:.0%}" for part, s in zip(PARTS, split, strict=True)
        )
        print(
            f"{name:8} {precision}, {arguments.threads} threads, torch {torch.__version__}: "
            f"{tokens / seconds:6.0f} target tokens/s, {done / seconds / 1e9:4.0f} GFLOP/s, "
            f"{done / seconds / rate:.0%} of the {rate / 1e9:.0f} of a product; {shares}",
            flush=True,
        )
        if arguments.profile:
            profile(bench)


if __name__ == "__main__":
    main()
