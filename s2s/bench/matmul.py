"""Measures matrix products alone, whose speed is the limit of training and search."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch.nn import functional as F

from s2s.bench.report import ProductResults, Skipped
from s2s.bench.timing import Clock, Measurements, Turn, rate
from s2s.bench.workload import Workload
from s2s.errors import UsageError
from s2s.nn.kernels import PRECISIONS, check_precision, has_fast_bf16, product
from s2s.nn.matmul import Weights
from s2s.recipe.choices import SearchPrecision
from s2s.search.bucketing import ROWS

SQUARE = 2048
"""Rows and columns of the square product: large enough for any kernel."""

LEAST_CALLS, LEAST_SECONDS = 3, 0.05
"""The least number and duration of calls in a repeat; the fastest call counts."""

Kernel = Literal["torch", "packed"]


class Size(NamedTuple):
    """A product [rows, inputs] x [inputs, outputs]."""

    name: str
    kernel: Kernel
    rows: int
    inputs: int
    outputs: int


class PreparedProduct(NamedTuple):
    """A product with its matrices in memory."""

    size: Size
    precision: SearchPrecision
    run: Callable[[], object]

    @property
    def key(self) -> str:
        """The name of its turn."""
        return f"product {self.size.name}, {self.size.kernel}, {self.precision}"


class Products:
    """Products in every precision that the device has."""

    def __init__(self, sizes: Sequence[Size], device: torch.device) -> None:
        self.device = device
        self.skipped = _skipped(device)
        unavailable = {one.what for one in self.skipped}
        self.precisions = [precision for precision in PRECISIONS if precision not in unavailable]
        by_torch = {"fp32", "bf16"} if has_fast_bf16(device) else {"fp32"}
        self.ready = [
            PreparedProduct(size, precision, _prepared(size, precision, device))
            for size in sizes
            for precision in self.precisions
            if size.kernel == "packed" or precision in by_torch
        ]

    @property
    def turns(self) -> list[Turn]:
        """A turn for each product."""
        return [Turn(one.key, partial(self._best, one.run)) for one in self.ready]

    def _best(self, run: Callable[[], object]) -> tuple[float]:
        """Seconds of the fastest of several calls."""
        clock, calls, began = Clock(self.device), 0, time.perf_counter()
        best = float("inf")
        with torch.inference_mode():
            while calls < LEAST_CALLS or time.perf_counter() - began < LEAST_SECONDS:
                clock.restart()
                run()
                best = min(best, clock.lap("product"))
                calls += 1
        return (best,)

    def results(self, taken: Measurements) -> list[ProductResults]:
        """The results of every product that was measured at least once."""
        return [
            ProductResults(
                name=size.name,
                kernel=size.kernel,
                precision=precision,
                rows=size.rows,
                inputs=size.inputs,
                outputs=size.outputs,
                operations_per_second=rate(
                    2.0 * size.rows * size.inputs * size.outputs,
                    (seconds for (seconds,) in taken[one.key]),
                ),
            )
            for one in self.ready
            for size, precision in [(one.size, one.precision)]
            if one.key in taken
        ]


def limits(results: Sequence[ProductResults]) -> dict[str, float]:
    """Operations per second of the fastest product of each precision."""
    found: dict[str, float] = {}
    for one in results:
        speed = one.operations_per_second.median
        found[one.precision] = max(speed, found.get(one.precision, 0.0))
    return found


def sizes_of(workload: Workload, square: int = SQUARE) -> list[Size]:
    """A square product in both kernels, and the largest products of training and of search.

    The fastest one depends on the machine: a large product keeps all units busy, a small one stays
    in the cache.
    """
    recipe, vocabulary = workload.recipe, workload.model.target_vocabulary
    layer = workload.model.decoder.layer(0)
    sentences, rows = _batch(workload)
    gates = 4 * layer.width
    decoding_rows = ROWS[workload.model.output.bias.device.type]
    embeddings = recipe.model.embeddings
    step = layer.input_width + layer.width
    return [
        Size("square", "torch", square, square, square),
        Size("square", "packed", square, square, square),
        Size("training: output layer", "torch", rows, embeddings, vocabulary),
        Size("training: a step of recurrence", "torch", sentences, layer.width, gates),
        Size("search: output layer", "packed", decoding_rows, embeddings, vocabulary),
        Size("search: a step of recurrence", "packed", decoding_rows, step, gates),
    ]


def _batch(workload: Workload) -> tuple[int, int]:
    """The number of pairs of a training batch and of their target tokens; regions count as source
    tokens."""
    tokens, corpus = workload.recipe.train.fixed_batch_tokens, workload.corpus
    target = float(corpus.target_lengths.mean() + 1)
    if corpus.features is None:
        return max(1, round(tokens / target)), tokens
    sentences = max(1, round(tokens / max(float(corpus.memory_lengths.mean() + 1), target)))
    return sentences, round(sentences * target)


def _prepared(size: Size, precision: SearchPrecision, device: torch.device) -> Callable[[], object]:
    draw = torch.Generator().manual_seed(1)
    x_ND = torch.rand(size.rows, size.inputs, generator=draw).to(device)
    weight_OD = torch.rand(size.outputs, size.inputs, generator=draw).to(device)
    if size.kernel == "packed":
        ones_D, zeros_O = x_ND.new_ones(size.inputs), x_ND.new_zeros(size.outputs)
        return partial(product(Weights(weight_OD, zeros_O, ones_D), precision), x_ND)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return partial(F.linear, x_ND.to(dtype), weight_OD.to(dtype))


def _skipped(device: torch.device) -> list[Skipped]:
    """The precisions without a fast kernel on a device."""
    found = []
    if device.type != "cpu" and not has_fast_bf16(device):
        reason = f"{device.type} without native products of bf16"
        found.append(Skipped(what="bf16", reason=reason))
    try:
        check_precision("int8", device)
    except UsageError as error:
        found.append(Skipped(what="int8", reason=str(error)))
    return found
