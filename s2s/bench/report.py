"""What a benchmark finds, as plain data: written as JSON, read back, shown as tables.

Speeds are medians over repeats with the slowest and the fastest. Operations are counted as
`s2s.bench.flops` says, shares are of the fastest matrix product found in the same precision.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from s2s.errors import UsageError

FORMAT = 1
"""Of the JSON; raised when a field changes its meaning."""

SLACK = 0.1
"""Cores' worth of other work that is not worth a warning: a system is never quite idle."""

Part = Literal["matmul", "training", "decoding", "prep", "startup"]
"""What can be measured by itself."""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One figure, measured several times."""

    median: float
    """Of the repeats."""
    low: float
    """The smallest."""
    high: float
    """The largest."""
    repeats: int
    """How many there were."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What it was measured on."""

    processor: str
    """Its name."""
    cores: int
    """Logical ones that this process may use."""
    memory: int | None
    """Bytes, where the system says."""
    system: str
    """Operating system and its version."""
    device: str
    """Where the model was: cpu, cuda:0."""
    gpu: str | None
    """Its name."""
    threads: int
    """Of PyTorch."""
    processes: int = 1
    """That worked side by side, at the most."""
    native_bf16: bool
    """Whether the device multiplies bf16 faster than fp32."""
    load: float | None
    """Processes that wanted a core in the minute before; None where the system does not say."""
    others: float | None
    """Cores that other processes had on average while this one measured; None where the system does
    not say."""

    @property
    def warning(self) -> str | None:
        """A line for a machine that has other work, else None."""
        wanted = self.load if self.others is None else self.others
        own = max(self.threads, self.processes)
        if wanted is None or wanted + own <= self.cores + SLACK:
            return None
        return (
            f"the machine is busy: beside {own} threads, others wanted {wanted:.1f} of "
            f"{self.cores} cores; figures are too low and their spread is wide"
        )


@dataclass(frozen=True, kw_only=True)
class FeatureSizes:
    """A file of features."""

    width: int
    """Of a region's vector."""
    regions: float
    """Of a training pair, on average; 1 of a vector."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What was trained and searched."""

    recipe: str
    """Its name, or the run's folder."""
    data: str
    """Where sentences come from."""
    parameters: int
    """Of the model."""
    source_vocabulary: int
    """Tokens; 0 where sources have no text."""
    target_vocabulary: int
    """Tokens."""
    batch_tokens: int
    """Of an update's batch, padding included."""
    source_length: float
    """Mean tokens of a training source, without end of sentence."""
    target_length: float
    """Mean tokens of a training target, without end of sentence."""
    features: list[FeatureSizes] = field(default_factory=list)
    """Of each of data.image_features."""


@dataclass(frozen=True, kw_only=True)
class ProductFigures:
    """Matrix products [rows, inputs] x [inputs, outputs] alone."""

    name: str
    """What the product is in the model."""
    kernel: Literal["torch", "packed"]
    """`torch`: what training calls; `packed`: what search calls, over weights in its own order."""
    precision: str
    """fp32, bf16 or int8."""
    rows: int
    """Of the first matrix."""
    inputs: int
    """Columns of the first matrix, rows of the second."""
    outputs: int
    """Columns of the second."""
    operations_per_second: Spread
    """2 x rows x inputs x outputs over the time of the best of a few calls."""


@dataclass(frozen=True, kw_only=True)
class TrainingFigures:
    """Updates over the same batches, from collating to the optimizer's step."""

    precision: str
    """fp32 or bf16."""
    updates: int
    """Of a repeat."""
    target_tokens: int
    """Of a repeat, ends of sentence included, padding not."""
    tokens_per_second: Spread
    """Target tokens."""
    operations_per_token: float
    """Forward and backward, of source and target, over target tokens."""
    operations_per_second: Spread
    """The product of the two."""
    share: float | None
    """Of the fastest matrix product of this precision; None where there is none, and of several
    processes."""
    seconds: dict[str, float]
    """Median seconds per update of data, forward, backward and optimizer; of several processes the
    first one's, which has waited for the others in the last."""
    peak_memory: int | None
    """Bytes: of the process (CPU), or that PyTorch held on the device (GPU); None of several
    processes."""
    processes: int = 1
    """That shared every update; several have one thread each."""


@dataclass(frozen=True, kw_only=True)
class DecodingFigures:
    """Search over the same sentences."""

    search: str
    """greedy or beam 5."""
    precision: str
    """fp32, bf16 or int8."""
    sentences: int
    """Of a repeat."""
    tokens: int
    """Predictions of the outputs of a repeat, ends of sentence included."""
    sentences_per_second: Spread
    """Tokenizing not included."""
    tokens_per_second: Spread
    """Of the outputs; a beam's other hypotheses do not count."""
    operations_per_token: float
    """Of sources and all hypotheses, over the tokens."""
    operations_per_second: Spread
    """The product of the two."""
    share: float | None
    """Of the fastest matrix product of this precision; None where there is none, and of several
    processes."""
    processes: int = 1
    """That shared the sentences; several have one thread each."""


@dataclass(frozen=True, kw_only=True)
class PrepFigures:
    """`s2s prep` of generated text."""

    pairs: int
    """Of a repeat."""
    pairs_per_second: Spread
    """Tokenizer trained, all pairs encoded."""
    encoded_per_second: Spread
    """With the tokenizer there already."""


@dataclass(frozen=True, kw_only=True)
class StartupFigures:
    """A command in a process of its own."""

    command: str
    """`s2s X --help`, or `s2s translate` up to its first line of output."""
    seconds: Spread
    """Wall time."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What this machine cannot do."""

    what: str
    """A precision of products or of search."""
    reason: str
    """Why."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of one benchmark."""

    format: int
    """FORMAT."""
    time: str
    """When it began, ISO 8601."""
    command: list[str]
    """The command line."""
    versions: dict[str, str | None]
    """Of s2s, its commit, Python and the packages that matter."""
    machine: Machine
    sizes: Sizes
    seed: int
    """Of weights and sentences."""
    repeats: int
    """As asked for."""
    is_complete: bool
    """False where Ctrl-C ended it."""
    matmul: list[ProductFigures]
    training: TrainingFigures | None
    decoding: list[DecodingFigures]
    prep: PrepFigures | None
    startup: list[StartupFigures]
    skipped: list[Skipped]
    team_training: TrainingFigures | None = None
    """The same by several processes."""

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), indent=1)


def read_report(path: Path) -> Report:
    """A report that was kept. Raises UsageError where the file is none."""
    from pydantic import TypeAdapter, ValidationError

    try:
        report = TypeAdapter(Report).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
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
