"""Speed of search, compared with a plain PyTorch loop over the same model.

    python benchmarks/search.py [--run DIR] [--sentences 1000] [--repeats 5] [--threads 1]
        [--search greedy "beam 5"]

All variants run in one process, taking turns. The script prints medians: sentences per second of
wall time and of CPU time, the ratio to the plain loop, the share of time in the decoding step's
matrix products, and the speed as a share of the speed that the same products alone allow in fp32.
Without a run, a model with random weights of the Multi30k recipe's sizes reads random sentences,
and all outputs have the maximum length.

The plain loop is straightforward PyTorch: batches of sentences sorted by length, padded to the
longest; the model's own step, with `F.linear`, for all hypotheses; `log_softmax` over the
vocabulary, `topk` over all continuations, `gather` of states and histories; a batch runs until its
last sentence is done.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.nn.device import keep_freed_memory
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import Encoder, Model
from s2s.recipe.model import StackedDecoder as Stacked
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.search.bucketing import longest_output
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD

Sources = Sequence[Sequence[int]]
Found = list[list[int]]
PRECISIONS: tuple[SearchPrecision, ...] = ("fp32", "bf16", "int8")
ROWS = 120
"""Rows of a decoding batch with 5 hypotheses a sentence."""

BATCH = {"greedy": 128, "beam": 64}
"""Batch sizes of the plain loop, in sentences: the fastest of 16, 32, 64 and 128."""


@torch.inference_mode()
def plain(
    model: Seq2Seq | Counting, sources: Sources, settings: GreedySearch | BeamSearch
) -> Found:
    """Greedy or beam search, a batch at a time; returns token ids of the best outputs."""
    width = settings.width if isinstance(settings, BeamSearch) else 1
    found: Found = [[] for _ in sources]
    order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
    size = BATCH[settings.kind]
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        outputs = plain_batch(model, [sources[i] for i in batch], settings, width)
        for index, output in zip(batch, outputs, strict=True):
            found[index] = output
    return found


def plain_batch(model: Seq2Seq | Counting, sources: Sources, settings: Search, width: int) -> Found:
    """Beam search of one batch: B sentences, K hypotheses, V tokens."""
    count = len(sources)
    time_ = max(len(source) for source in sources) + 1
    source_BS = torch.full((count, time_), PAD)
    for row, source in enumerate(sources):
        source_BS[row, : len(source) + 1] = torch.tensor([*source, EOS])
    lengths_B = torch.tensor([len(source) + 1 for source in sources])
    memory = model.encode(source_BS, lengths_B)
    state = model.start(memory).select(torch.arange(count).repeat_interleave(width))
    limit = max(longest_output(len(source), settings) for source in sources)
    tokens_BK = torch.full((count, width), BOS)
    totals_BK = torch.full((count, width), -torch.inf)
    totals_BK[:, 0] = 0.0
    history_BKT = torch.empty(count, width, 0, dtype=torch.int64)
    best_B = torch.full((count,), -torch.inf)
    outputs: Found = [[] for _ in sources]
    ended_B = torch.zeros(count, dtype=torch.int64)
    for step in range(1, limit + 1):
        logits_NV, state = plain_step(model, memory, state, tokens_BK.flatten())
        log_probs_BKV = F.log_softmax(logits_NV, dim=-1).view(count, width, -1)
        log_probs_BKV[..., [PAD, BOS]] = -torch.inf
        all_BJ = (totals_BK.unsqueeze(-1) + log_probs_BKV).flatten(1)
        values_BJ, places_BJ = all_BJ.topk(2 * width, dim=-1)
        vocabulary = log_probs_BKV.shape[-1]
        rows_BJ, next_BJ = places_BJ // vocabulary, places_BJ % vocabulary
        is_end_BJ = next_BJ == EOS
        for b, j in torch.nonzero(is_end_BJ[:, :width]).tolist():
            ended_B[b] += 1
            score = values_BJ[b, j] / step
            if score > best_B[b]:
                best_B[b] = score
                outputs[b] = history_BKT[b, rows_BJ[b, j]].tolist()
        totals_BK, kept_BK = values_BJ.masked_fill(is_end_BJ, -torch.inf).topk(width, dim=-1)
        rows_BK, tokens_BK = rows_BJ.gather(1, kept_BK), next_BJ.gather(1, kept_BK)
        picked_BKT = history_BKT.gather(1, rows_BK.unsqueeze(-1).expand(-1, -1, step - 1))
        history_BKT = torch.cat((picked_BKT, tokens_BK.unsqueeze(-1)), dim=-1)
        state = state.select((rows_BK + torch.arange(count).unsqueeze(1) * width).flatten())
        if bool((ended_B >= width).all()):
            break
    return outputs


def plain_step(
    model: Seq2Seq | Counting, memory: Memory, state: DecoderState, tokens_N: Tensor
) -> tuple[Tensor, DecoderState]:
    """The model's step with its training weights: `F.linear` over the parameters."""
    step = model.step(memory, state, tokens_N)
    return step.logits, step.state


def load(run: Path | None, count: int) -> tuple[Seq2Seq, Sources, list[str] | None]:
    """A run's model with its test set, or a random model and sentences of the same sizes."""
    if run is None:
        torch.manual_seed(1)
        recipe = Model(
            embeddings=256, encoder=Encoder(width=256), decoder=Stacked(kind="stacked", width=512)
        )
        draw = torch.Generator().manual_seed(2)
        lengths = torch.randint(6, 30, (count,), generator=draw).tolist()
        drawn = [torch.randint(4, 8000, (n,), generator=draw).tolist() for n in lengths]
        return Seq2Seq(recipe, 8000, 8000).eval(), drawn, None
    from s2s import pipeline
    from s2s.data.preparation.prepare import open_corpus
    from s2s.run.finding import find_run

    found = find_run(str(run), Path("runs"))
    translator = pipeline.load_translator(found, device="cpu")
    corpus = open_corpus(found.folder, "test")
    assert corpus.source_texts is not None
    texts = list(corpus.source_texts)[:count]
    assert isinstance(translator.scorer, InferenceModel)
    return translator.scorer.model, translator.source.encode(texts), texts


def product_seconds(model: Seq2Seq, precision: SearchPrecision) -> float:
    """Seconds per row of the step's products alone, the best of 20 decoding batches."""
    ready = inference_model(model, precision).quantized
    modules = [ready.output, ready.decoder.readout.linear, *ready.decoder.layers]
    widths = [model.recipe.embeddings, model.decoder.readout.width]
    widths += [width + model.decoder.width for width in model.decoder.input_widths]
    total = 0.0
    for module, width in zip(modules, widths, strict=True):
        x_ND = torch.rand(ROWS, width)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            module.product(x_ND)  # type: ignore[operator,union-attr]
            times.append(time.perf_counter() - began)
        total += min(times)
    return total / ROWS


class Counting:
    """A model that counts the rows of its steps."""

    def __init__(self, model: Seq2Seq | InferenceModel) -> None:
        self.model = model
        self.rows = 0
        self.vocabulary = model.vocabulary
        self.encode, self.start = model.encode, model.start

    def step(self, memory: Memory, state: DecoderState, tokens: Tensor) -> Step[DecoderState]:
        """Count the rows and call the model's step."""
        self.rows += len(tokens)
        return self.model.step(memory, state, tokens)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--search", choices=["greedy", "beam 5"], nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    model, sources, _ = load(arguments.run, arguments.sentences)
    models = {precision: inference_model(model, precision) for precision in PRECISIONS}
    with torch.inference_mode():
        per_row = {precision: product_seconds(model, precision) for precision in PRECISIONS}
    kinds: dict[str, GreedySearch | BeamSearch] = {
        "greedy": GreedySearch(kind="greedy"),
        "beam 5": BeamSearch(kind="beam", width=5),
    }
    print(f"{len(sources)} sentences, {arguments.threads} threads, torch {torch.__version__}")
    for name in arguments.search or kinds:
        settings = kinds[name]
        ways: dict[str, Callable[[], object]] = {
            "plain loop": partial(plain, model, sources, settings)
        }
        for precision, ready in models.items():
            exact = replace(settings, precision=precision)
            ways[precision] = partial(search, ready, sources, exact, "cpu")
        rates = measured(ways, len(sources), arguments.repeats)
        rows = {"plain loop": Counting(model)}
        plain(rows["plain loop"], sources, settings)
        for precision, ready in models.items():
            rows[precision] = Counting(ready)
            search(rows[precision], sources, replace(settings, precision=precision), "cpu")
        for way, (wall, cpu) in rates.items():
            ratio = wall / rates["plain loop"][0]
            steps = rows[way].rows * wall / len(sources)
            own = per_row["fp32"] if way == "plain loop" else per_row[way]  # type: ignore[index]
            print(
                f"{name:7} {way:10} {wall:7.1f} sentences/s, {cpu:7.1f} per CPU second, "
                f"{ratio:5.2f} x plain; products {steps * own:4.0%} of the time, "
                f"{steps * per_row['fp32']:4.0%} of what fp32 products alone would reach",
                flush=True,
            )


def measured(
    ways: dict[str, Callable[[], object]], count: int, repeats: int
) -> dict[str, tuple[float, float]]:
    """Median sentences per second of wall and CPU time; the variants take turns."""
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            seconds[way].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        way: (
            count / statistics.median(wall for wall, _ in taken),
            count / statistics.median(cpu for _, cpu in taken),
        )
        for way, taken in seconds.items()
    }


if __name__ == "__main__":
    main()
