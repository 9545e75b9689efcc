"""ONNX: whether onnxruntime gives s2s's outputs, and how fast.

    pip install onnx onnxscript onnxruntime     # beside s2s; no part of it
    python benchmarks/onnx_export.py --run DIR [--sentences 500] [--repeats 5] [--only-speed]
        [--batches 32 128] [--exporter torchscript]

Exports the encoder and one decoder step of a run with `torch.onnx.export`, batch and source length
dynamic, and reads validation lines with them in onnxruntime, on one thread. It prints the sizes of
the files; the largest difference of logits under teacher forcing; how many greedy outputs differ
from those of `s2s translate`, and how many depend on the batch; the speeds, the variants taking
turns. docs/decisions/0022-onnx.md has the figures and what follows from them.

The greedy loops are what a user of the two graphs would have to write. "s2s's search" is that of
s2s itself, in its fixed shapes, with onnxruntime in place of PyTorch.

Dimension letters: B sentences, N rows, S source time, T target time, V vocabulary.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from search import measured, plain
from torch import Tensor, nn

from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.nn.attention_scores import BilinearScores
from s2s.nn.device import keep_freed_memory
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe.search import GreedySearch
from s2s.run.finding import find_run
from s2s.search.bucketing import longest_output
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD

Sources = Sequence[Sequence[int]]
GREEDY = GreedySearch(kind="greedy")

FORCED = 100
"""Lines whose logits are compared."""

SINGLE = 40
"""Lines that s2s's search reads one by one; each costs as many steps as a full block."""


def flat(state: DecoderState) -> tuple[Tensor, ...]:
    """The tensors of a state, in the order of `rebuilt`."""
    cells = [part for cell in state.layers for part in cell]
    more = [part for part in (state.fed, state.coverage) if part is not None]
    return (*cells, *more)


def rebuilt(tensors: Sequence[Tensor], like: DecoderState) -> DecoderState:
    """The state of `flat` tensors, with the parts that `like` has."""
    left = list(tensors)
    layers = tuple(tuple(left.pop(0) for _ in cell) for cell in like.layers)
    fed = None if like.fed is None else left.pop(0)
    return DecoderState(layers, fed, None if like.coverage is None else left.pop(0))  # type: ignore[arg-type]


class EncoderGraph(nn.Module):
    """(source [B, S], lengths [B]) → states, keys, mask, parts of the first state."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        memory = self.model.encode(source_BS, lengths_B)
        return memory.states_BSD, memory.keys, memory.mask_BS, *flat(self.model.start(memory))


class StepGraph(nn.Module):
    """(states, keys, mask, tokens [B], parts of the state) → logits [B, V], the parts after it."""

    def __init__(self, model: Seq2Seq, like: DecoderState) -> None:
        super().__init__()
        self.model = model
        self.like = like

    def forward(
        self,
        states_BSD: Tensor,
        keys: Tensor,
        mask_BS: Tensor,
        tokens_B: Tensor,
        parts: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """See the class."""
        # Attention reads the number of sentences of the last field, and nothing else of it.
        memory = Memory(states_BSD, keys, mask_BS, states_BSD[:, 0], mask_BS)
        step = self.model.step(memory, rebuilt(parts, self.like), tokens_B)
        return step.logits, *flat(step.state)


def weighted_sum(weights_NJ: Tensor, vectors_BJD: Tensor) -> Tensor:
    """`s2s.nn.weighted_sum`, one row a sentence: ONNX has no sum of bags in a fixed order."""
    return torch.bmm(weights_NJ.unsqueeze(1), vectors_BJD).squeeze(1)


def transposed_keys(self: BilinearScores, states_BSD: Tensor) -> Tensor:
    """`BilinearScores.keys`: the older exporter has no `mT`."""
    keys_BSH = states_BSD if self.projection is None else self.projection(states_BSD)
    return keys_BSH.transpose(1, 2)


def export(model: Seq2Seq, folder: Path, *, dynamo: bool) -> tuple[Path, Path, DecoderState]:
    """Files of the encoder and of the step, and a state of the same parts."""
    source_BS = torch.full((3, 7), EOS)
    lengths_B = torch.tensor([7, 5, 4])
    memory = model.encode(source_BS, lengths_B)
    state = model.start(memory)
    names = [f"state{place}" for place in range(len(flat(state)))]
    of_memory = ["states", "keys", "mask"]
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    keys_time = 2 if memory.keys.shape[2] == 7 else 1
    memory_dims = [{0: batch, 1: time}, {0: batch, keys_time: time}, {0: batch, 1: time}]
    wide = [{0: batch, **({1: time} if part is state.coverage else {})} for part in flat(state)]
    encoder, step = folder / "encoder.onnx", folder / "step.onnx"

    def write(
        module: nn.Module, inputs: tuple[Any, ...], path: Path, dims: Any, names: dict[str, Any]
    ) -> None:
        options: dict[str, Any] = {"dynamic_shapes": dims, "external_data": False}
        if not dynamo:
            every = zip(names["input_names"], _flat_dims(dims), strict=True)
            axes = {name: {axis: str(axis) + name for axis in one} for name, one in every}
            options = {"dynamic_axes": axes, "opset_version": 17}
        torch.onnx.export(module.eval(), inputs, path, dynamo=dynamo, **names, **options)

    write(
        EncoderGraph(model),
        (source_BS, lengths_B),
        encoder,
        ({0: batch, 1: time}, {0: batch}),
        {"input_names": ["source", "lengths"], "output_names": [*of_memory, *names]},
    )
    write(
        StepGraph(model, state),
        (memory.states_BSD, memory.keys, memory.mask_BS, torch.tensor([BOS] * 3), flat(state)),
        step,
        (*memory_dims, {0: batch}, tuple(wide)),
        {
            "input_names": [*of_memory, "tokens", *names],
            "output_names": ["logits", *(f"new_{name}" for name in names)],
        },
    )
    return encoder, step, state


def _flat_dims(dims: Any) -> list[dict[int, Any]]:
    """The sizes of each input."""
    return [dims] if isinstance(dims, dict) else [one for part in dims for one in _flat_dims(part)]


class Runtime:
    """The two graphs in onnxruntime, on one thread; a scorer of s2s's search."""

    def __init__(self, encoder: Path, step: Path, like: DecoderState, vocabulary: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.sessions = [
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in (encoder, step)
        ]
        self.names = [[one.name for one in session.get_inputs()] for session in self.sessions]
        self.like = like
        self.vocabulary = vocabulary
        self.first: dict[int, DecoderState] = {}

    def run(self, graph: int, inputs: Sequence[np.ndarray[Any, Any]]) -> list[Any]:
        """Outputs of graph 0, the encoder, or 1, the step; an unread input is left out."""
        return list(
            self.sessions[graph].run(None, dict(zip(self.names[graph], inputs, strict=True)))
        )

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """See `Seq2Seq.encode`."""
        states, keys, mask, *state = self.run(0, (source.numpy(), lengths.numpy()))
        parts = [torch.from_numpy(part) for part in (states, keys, mask)]
        memory = Memory(*parts, final_BD=parts[0][:, 0])
        self.first = {id(memory): rebuilt([torch.from_numpy(one) for one in state], self.like)}
        return memory

    def start(self, memory: Memory) -> DecoderState:
        """See `Seq2Seq.start`; the encoder's graph gives it."""
        return self.first[id(memory)]

    def step(self, memory: Memory, state: DecoderState, tokens: Tensor) -> Step[DecoderState]:
        """See `Seq2Seq.step`."""
        inputs = (memory.states_BSD, memory.keys, memory.mask_BS, tokens, *flat(state))
        logits, *new = self.run(1, [one.numpy() for one in inputs])
        found = rebuilt([torch.from_numpy(one) for one in new], self.like)
        return Step(torch.from_numpy(logits), found, None)


def greedy(runtime: Runtime, sources: Sources, size: int, *, is_sorted: bool) -> list[list[int]]:
    """Greedy search, `size` sentences at a time."""
    found: list[list[int]] = [[] for _ in sources]
    order = list(range(len(sources)))
    if is_sorted:
        order.sort(key=lambda i: -len(sources[i]))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        outputs = greedy_batch(runtime, [sources[i] for i in batch])
        for index, output in zip(batch, outputs, strict=True):
            found[index] = output
    return found


def padded(sources: Sources) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Sources with EOS, int64 [B, S], and their lengths [B]."""
    lengths_B = np.array([len(source) + 1 for source in sources])
    source_BS = np.full((len(sources), lengths_B.max()), PAD)
    for row, source in enumerate(sources):
        source_BS[row, : len(source) + 1] = [*source, EOS]
    return source_BS, lengths_B


def greedy_batch(runtime: Runtime, sources: Sources) -> list[list[int]]:
    """Greedy search of one batch, until its last sentence ends."""
    states, keys, mask, *state = runtime.run(0, padded(sources))
    limit_B = np.array([longest_output(len(source), GREEDY) for source in sources])
    tokens_B = np.full(len(sources), BOS)
    is_live_B = np.ones(len(sources), dtype=bool)
    outputs: list[list[int]] = [[] for _ in sources]
    for step in range(1, limit_B.max() + 1):
        logits_BV, *state = runtime.run(1, (states, keys, mask, tokens_B, *state))
        logits_BV[:, [PAD, BOS]] = -np.inf
        tokens_B = logits_BV.argmax(-1)
        is_live_B &= tokens_B != EOS
        for row in np.nonzero(is_live_B)[0]:
            outputs[row].append(int(tokens_B[row]))
        is_live_B &= step < limit_B
        if not is_live_B.any():
            break
    return outputs


@torch.inference_mode()
def forced(
    scorer: InferenceModel | Runtime,
    sources: Sources,
    outputs: Sequence[Sequence[int]],
    size: int,
) -> list[Tensor]:
    """Logits [T, V] of each output under teacher forcing, `size` sentences at a time."""
    found: list[Tensor] = []
    for start in range(0, len(sources), size):
        batch = outputs[start : start + size]
        source_BS, lengths_B = map(torch.from_numpy, padded(sources[start : start + size]))
        memory = scorer.encode(source_BS, lengths_B)
        state = scorer.start(memory)
        input_BT = torch.full((len(batch), max(map(len, batch)) + 1), EOS)
        for row, output in enumerate(batch):
            input_BT[row, : len(output) + 1] = torch.tensor([BOS, *output])
        steps = []
        for token_B in input_BT.unbind(1):
            logits_BV, state, _ = scorer.step(memory, state, token_B.contiguous())
            steps.append(logits_BV)
        logits_BTV = torch.stack(steps, dim=1)
        found += [one[: len(output) + 1] for one, output in zip(logits_BTV, batch, strict=True)]
    return found


def by_search(scorer: Any, sources: Sources, **options: Any) -> list[tuple[list[int], float]]:
    """Tokens and log-probability of each output of s2s's greedy search."""
    found = search(scorer, sources, replace(GREEDY, **options), "cpu")
    return [(list(one[0].tokens), one[0].log_prob) for one in found]


def different(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many outputs differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def farthest(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest absolute difference of logits."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def load(run: Path, count: int) -> tuple[Seq2Seq, Sources]:
    """A run's model, and its first validation lines in tokens, without empty ones."""
    found = find_run(str(run), Path("runs"))
    translator = pipeline.load_translator(found, device="cpu")
    corpus = open_corpus(found.folder, "validation")
    assert corpus.source_texts is not None
    assert isinstance(translator.scorer, InferenceModel)
    sources = translator.source.encode(list(corpus.source_texts)[:count])
    return translator.scorer.model.eval(), [source for source in sources if source]


def compare(model: Seq2Seq, runtimes: dict[str, Runtime], sources: Sources) -> None:
    """Print differences of logits and of outputs."""
    print(f"of {len(sources)} outputs differ:")
    expected = {name: by_search(inference_model(model, name), sources) for name in ("fp32", "int8")}
    reference = [tokens for tokens, _ in expected["fp32"]]
    print(f"  s2s int8 from s2s fp32: {different([t for t, _ in expected['int8']], reference)}")
    some, outputs = sources[:FORCED], reference[:FORCED]
    logits = forced(inference_model(model, "fp32"), some, outputs, 1)
    for name, runtime in runtimes.items():
        alone = forced(runtime, some, outputs, 1)
        together = forced(runtime, some, outputs, 32)
        print(f"  logits of {name}: from s2s's {farthest(alone, logits):.2g}, ", end="")
        print(f"batch 32 from 1 {farthest(together, alone):.2g}")
        found = {size: greedy(runtime, sources, size, is_sorted=False) for size in (1, 32)}
        grouped = greedy(runtime, sources, 32, is_sorted=True)
        print(f"  {name}, batch 1 from s2s fp32: {different(found[1], reference)}")
        print(f"  {name}, batch 32 from s2s fp32: {different(found[32], reference)}")
        print(f"  {name}, batch 32 from batch 1: {different(found[32], found[1])}")
        print(f"  {name}, batch 32 sorted by length from not: {different(grouped, found[32])}")
        fixed = by_search(runtime, sources)
        tokens = [tokens for tokens, _ in fixed]
        print(f"  s2s's search with {name} from s2s fp32: {different(tokens, reference)}")
        order = list(np.random.default_rng(1).permutation(len(sources)))
        shuffled = by_search(runtime, [sources[i] for i in order])
        print(f"    lines shuffled: {different(shuffled, [fixed[i] for i in order])}, ", end="")
        single = [by_search(runtime, [source])[0] for source in sources[:SINGLE]]
        print(f"the first {SINGLE} one by one: {different(single, fixed[:SINGLE])} ", end="")
        print("(tokens or log-probability)", flush=True)


def main() -> None:
    """Export, compare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5, help="0: no speeds")
    parser.add_argument("--only-speed", action="store_true", help="no comparison of outputs")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--exporter", choices=["dynamo", "torchscript"], default="torchscript")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model, sources = load(arguments.run, arguments.sentences)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, one thread")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            torch.no_grad(),
            patch("s2s.nn.attention.weighted_sum", weighted_sum),
            patch("s2s.nn.attention_scores.weighted_sum", weighted_sum),
            patch.object(BilinearScores, "keys", transposed_keys),
        ):
            is_dynamo = arguments.exporter == "dynamo"
            encoder, step, like = export(model, folder, dynamo=is_dynamo)
        files = {"onnx fp32": (encoder, step)}
        small = folder / "encoder.int8.onnx", folder / "step.int8.onnx"
        for whole, rounded in zip(files["onnx fp32"], small, strict=True):
            quantize_dynamic(whole, rounded, weight_type=QuantType.QInt8, per_channel=True)
        files["onnx int8"] = small
        for way, paths in files.items():
            sizes = ", ".join(f"{path.stat().st_size / 1e6:.1f}" for path in paths)
            print(f"{way}: encoder, step {sizes} MB")
        runtimes = {way: Runtime(*paths, like, model.vocabulary) for way, paths in files.items()}
    if not arguments.only_speed:
        compare(model, runtimes, sources)
    if arguments.repeats:
        time_all(model, runtimes, sources, arguments)


def time_all(
    model: Seq2Seq, runtimes: dict[str, Runtime], sources: Sources, arguments: argparse.Namespace
) -> None:
    """Print the speed of every variant."""
    ways: dict[str, Callable[[], object]] = {"plain loop": partial(plain, model, sources, GREEDY)}
    for precision in ("fp32", "int8"):
        ready = inference_model(model, precision)  # type: ignore[arg-type]
        ways[f"s2s {precision}"] = partial(search, ready, sources, GREEDY, "cpu")
    for way, runtime in runtimes.items():
        for size in arguments.batches:
            loop = partial(greedy, runtime, sources, size, is_sorted=True)
            ways[f"{way}, batch {size}"] = loop
        ways[f"{way}, s2s's search"] = partial(search, runtime, sources, GREEDY, "cpu")
    rates = measured(ways, len(sources), arguments.repeats)
    for way, (wall, cpu) in rates.items():
        print(f"{way:24} {wall:7.1f} sentences/s, {cpu:7.1f} per CPU second")


if __name__ == "__main__":
    main()
