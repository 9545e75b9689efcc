"""The report of a benchmark: plain data, written as JSON, read back, shown as tables.

Speeds are medians over repeats with the slowest and the fastest. Operations are counted by
`s2s.bench.flops`; shares are relative to the fastest matrix product of the same precision.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from s2s.errors import UsageError
from s2s.text.lines import open_bytes

FORMAT = 1
"""The format of the JSON; it increases when a field changes its meaning."""

SLACK = 0.1
"""Cores of other work without a warning: no system is entirely idle."""

Part = Literal["matmul", "training", "decoding", "prep", "startup"]
"""A part that can be measured alone."""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One number, measured several times."""

    median: float
    """The median of the repeats."""
    low: float
    """The smallest."""
    high: float
    """The largest."""
    repeats: int
    """The number of repeats."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a measurement."""

    processor: str
    """The name of the processor."""
    cores: int
    """Logical cores that this process may use."""
    memory: int | None
    """Bytes; None if the system does not report them."""
    system: str
    """Operating system and its version."""
    device: str
    """The device of the model: cpu, cuda:0."""
    gpu: str | None
    """The name of the GPU; None on a CPU."""
    threads: int
    """Threads of PyTorch."""
    processes: int = 1
    """The most processes in parallel."""
    native_bf16: bool
    """Whether the device multiplies bf16 faster than fp32."""
    load: float | None
    """Processes that wanted a core in the last minute; None if the system does not report it."""
    others: float | None
    """Cores that other processes had on average during the benchmark; None if the system does not
    report it."""

    @property
    def warning(self) -> str | None:
        """A warning about a machine with other work; None for an idle one."""
        wanted = self.load if self.others is None else self.others
        own = max(self.threads, self.processes)
        if wanted is None or wanted + own <= self.cores + SLACK:
            return None
        return (
            f"the machine is busy: beside {own} threads, others wanted {wanted:.1f} of "
            f"{self.cores} cores; speeds are too low and their spread is wide"
        )


@dataclass(frozen=True, kw_only=True)
class FeatureSizes:
    """The sizes of a feature file."""

    width: int
    """The length of a region's vector."""
    regions: float
    """Mean regions of a training pair; 1 for vectors."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of the model and the data."""

    recipe: str
    """The name of the recipe, or the folder of the run."""
    data: str
    """The origin of the sentences."""
    parameters: int
    """Parameters of the model."""
    source_vocabulary: int
    """Tokens; 0 if sources have no text."""
    target_vocabulary: int
    """Tokens."""
    batch_tokens: int
    """Tokens of a batch, padding included."""
    source_length: float
    """Mean tokens of a training source, without end of sentence."""
    target_length: float
    """Mean tokens of a training target, without end of sentence."""
    features: list[FeatureSizes] = field(default_factory=list)
    """The sizes of each file in data.image_features."""


@dataclass(frozen=True, kw_only=True)
class ProductResults:
    """The results of a matrix product [rows, inputs] x [inputs, outputs] alone."""

    name: str
    """The role of the product in the model."""
    kernel: Literal["torch", "packed"]
    """`torch`: the kernel of training; `packed`: the kernel of search, with prepacked weights."""
    precision: str
    """fp32, bf16 or int8."""
    rows: int
    """Rows of the first matrix."""
    inputs: int
    """Columns of the first matrix, rows of the second."""
    outputs: int
    """Columns of the second matrix."""
    operations_per_second: Spread
    """2 x rows x inputs x outputs over the time of the fastest of several calls."""


@dataclass(frozen=True, kw_only=True)
class TrainingResults:
    """The results of updates over the same batches, from collating to the optimizer's step."""

    precision: str
    """fp32 or bf16."""
    updates: int
    """Updates in a repeat."""
    target_tokens: int
    """Target tokens in a repeat, with ends of sentence, without padding."""
    tokens_per_second: Spread
    """Target tokens."""
    operations_per_token: float
    """Operations of forward and backward passes, source and target, over target tokens."""
    operations_per_second: Spread
    """The product of the two."""
    share: float | None
    """The share of the speed of the fastest matrix product in this precision; None if it is unknown
    and for several processes."""
    seconds: dict[str, float]
    """Median seconds per update of data, forward, backward and optimizer. Of several processes,
    those of rank 0, which waits for the others in the optimizer."""
    peak_memory: int | None
    """Bytes of the process (CPU), or of PyTorch on the device (GPU); None for several processes."""
    processes: int = 1
    """The processes that share every update; several have one thread each."""


@dataclass(frozen=True, kw_only=True)
class DecodingResults:
    """The results of a search over the same sentences."""

    search: str
    """greedy or beam 5."""
    precision: str
    """fp32, bf16 or int8."""
    sentences: int
    """Sentences in a repeat."""
    tokens: int
    """Predictions of all outputs in a repeat, with ends of sentence."""
    sentences_per_second: Spread
    """Without tokenizing."""
    tokens_per_second: Spread
    """Tokens of the outputs, without other hypotheses of a beam."""
    operations_per_token: float
    """Operations of sources and all hypotheses, over the tokens."""
    operations_per_second: Spread
    """The product of the two."""
    share: float | None
    """The share of the speed of the fastest matrix product in this precision; None if it is unknown
    and for several processes."""
    processes: int = 1
    """The processes that share the sentences; several have one thread each."""


@dataclass(frozen=True, kw_only=True)
class PrepResults:
    """The results of `s2s prep` of generated text."""

    pairs: int
    """Pairs in a repeat."""
    pairs_per_second: Spread
    """Training the tokenizer and encoding all pairs."""
    encoded_per_second: Spread
    """Encoding all pairs."""


@dataclass(frozen=True, kw_only=True)
class StartupResults:
    """The results of starting a command in a new process."""

    command: str
    """`s2s X --help`, or `s2s translate` until its first line of output."""
    seconds: Spread
    """Wall time."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A measurement that this machine cannot do."""

    what: str
    """A precision of products or of search."""
    reason: str
    """The reason."""


@dataclass(frozen=True, kw_only=True)
class ComparedSpeed:
    """The speeds of s2s and another toolkit at one task."""

    name: str
    """training, greedy or beam 5."""
    unit: str
    """What is counted: target tokens with ends of sentence, or sentences."""
    tokens: int
    """Target tokens, or predictions of all outputs, in a repeat; both made as many."""
    own: Spread
    """Units per second of s2s."""
    other: Spread
    """Units per second of the other toolkit."""
    ratio: Spread
    """The first over the second, each of one repeat."""


@dataclass(frozen=True, kw_only=True)
class ComparisonResults:
    """The results of s2s and another toolkit, in fp32 on a CPU, in turns."""

    toolkit: str
    """The other toolkit's name."""
    versions: dict[str, str]
    """Versions of the other toolkit, its Python and what it computes with."""
    options: list[str]
    """The recipe in the other toolkit's options."""
    parameters: int
    """Parameters of the other toolkit's model."""
    batch_pairs: int
    """Pairs of a batch in training."""
    updates: int
    """Updates in a repeat."""
    sentences: int
    """Sentences that a search of a repeat has."""
    source_length: int
    """Tokens of each of them, without end of sentence; outputs have one more."""
    speeds: list[ComparedSpeed]
    """Of each task that both did."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of one benchmark."""

    format: int
    """FORMAT."""
    time: str
    """The time of the start, ISO 8601."""
    command: list[str]
    """The command line."""
    versions: dict[str, str | None]
    """Versions of s2s, its commit, Python and relevant packages."""
    machine: Machine
    sizes: Sizes
    seed: int
    """The seed of weights and sentences."""
    repeats: int
    """The requested number of repeats."""
    is_complete: bool
    """False after Ctrl-C."""
    matmul: list[ProductResults]
    training: TrainingResults | None
    decoding: list[DecodingResults]
    prep: PrepResults | None
    startup: list[StartupResults]
    skipped: list[Skipped]
    team_training: TrainingResults | None = None
    """The results of training by several processes."""
    comparison: ComparisonResults | None = None
    """The results of a comparison with another toolkit."""

    def to_json(self) -> str:
        """The report as JSON, which `read_report` reads."""
        return json.dumps(asdict(self), indent=1)


def read_report(path: Path) -> Report:
    """Read the JSON of a report. Raises UsageError for any other file."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with open_bytes(path) as file:
            report = TypeAdapter(Report).validate_json(file.read(), strict=True)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(map(str, detail["loc"]))
        what = f"{place}: {detail['msg']}" if place else str(detail["msg"])
        raise UsageError(f"{path}: expected the JSON of s2s bench, found {what}") from error
    if report.format != FORMAT:
        raise UsageError(
            f"{path}: written by another s2s (format {report.format}, this one: {FORMAT})"
        )
    return report
