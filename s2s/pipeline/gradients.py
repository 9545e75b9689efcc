"""How far gradients reach back in the layers of a run's model, on the run's own data.

`s2s.nn.gradient_flow` says what is measured. Here it is averaged over steps and sentences.

Dimension letters: T steps, B sentences, K lags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from s2s.errors import UsageError
from s2s.pipeline.progress import progress
from s2s.recipe.cells import AnyCell
from s2s.recipe.model import LabelDecoder
from s2s.run.directory import Run

if TYPE_CHECKING:
    from s2s.data.sources.split import SplitName
    from s2s.data.store import Corpus
    from s2s.nn.batch import Batch
    from s2s.nn.gradient_flow import LayerTrace
    from s2s.nn.model import Seq2Seq
    from s2s.recipe.recipe import Recipe
    from s2s.run.checkpoints import Which
    from s2s.text.tokenizer_pair import TokenizerPair

Side = Literal["decoder", "encoder"]

BATCH_ROWS = 2048
"""Tokens of the longest side of a batch, padding included: graphs of all steps are in memory."""

LEAST_STEPS = 3
"""Steps of the longest sentence, its end included, for two lags."""


@dataclass(frozen=True)
class GradientOptions:
    """What is measured."""

    side: Side = "decoder"
    split: SplitName = "validation"
    lines: int = 64
    """The first lines of the split that are read."""
    lags: int = 30
    """The most steps back."""
    checkpoint: Which = "best"
    untrained: bool = False
    """Whether the recipe's model is measured before training too."""
    cells: tuple[str, ...] = ()
    """Kinds of cells with which it is measured before training."""
    device: str = "auto"


@dataclass(frozen=True)
class GradientCurve:
    """Gradients in one model; lists have an entry for each lag, from 0 on."""

    name: str
    cell: str
    """Kind of the layer's cell."""
    trained: bool
    norms: list[float]
    """Mean norm of d loss_t / d m_{t-k} over all steps t of all sentences that have k before
    them."""
    relative: list[float]
    """That, over the mean norm at lag 0 of the same steps."""

    @property
    def tenth(self) -> int | None:
        """The first lag at which less than a tenth of the norm at lag 0 is left."""
        return next((lag for lag, share in enumerate(self.relative) if share < 0.1), None)


@dataclass(frozen=True)
class GradientReport:
    """The curves of all models, on the same lines."""

    run: str
    checkpoint: str
    side: Side
    split: str
    lines: int
    counts: list[int]
    """Steps of which each lag is a mean."""
    curves: list[GradientCurve]

    def as_json(self) -> dict[str, Any]:
        """All of it, and of each curve `tenth`."""
        curves = [{**asdict(one), "tenth": one.tenth} for one in self.curves]
        return {**asdict(self), "curves": curves}

    @property
    def what(self) -> str:
        """One line: what was measured."""
        layer = (
            "the decoder's first layer"
            if self.side == "decoder"
            else "the forward direction of the encoder's first layer"
        )
        return (
            f"{self.run}: {layer}, {self.split}, {self.lines:,} lines, checkpoint {self.checkpoint}"
        )


def inspect_gradients(run: Run, options: GradientOptions) -> GradientReport:
    """Measure the gradients of a run's model, and of untrained ones beside it.

    Raises UsageError for a run without such a split, sentences too short to go back in, an unknown
    cell or a side that the model does not have, RunError for a checkpoint that is missing or
    damaged.
    """
    cells = [cell_of(kind) for kind in dict.fromkeys(options.cells)]
    path = run.data_folder / f"{options.split}.arrow"
    if run.is_exported:
        raise UsageError(f"{run.place}: an exported model, which has no data to measure on")
    if not path.exists():
        raise UsageError(
            f"{run.place}: its recipe has no {options.split} split, or data/ was deleted"
        )
    measured = _Measured(run, options)
    curves = []
    with progress() as callback:
        for place, (label, cell, model) in enumerate(measured.models(cells)):
            sums = measured.sums(model, lambda done, total, at=label: callback(at, done, total))
            curves.append(sums.curve(label, cell, trained=place == 0))
    return GradientReport(
        run=run.place,
        checkpoint=str(run.resolve_checkpoint(options.checkpoint)),
        side=options.side,
        split=options.split,
        lines=measured.lines,
        counts=sums.counts,
        curves=curves,
    )


def cell_of(kind: str) -> AnyCell:
    """A cell of this kind, with its defaults. Raises UsageError for an unknown kind."""
    sections = _cells()
    if kind not in sections:
        raise UsageError(f"--cells: expected some of {', '.join(sections)}, found {kind!r}")
    return sections[kind](kind=kind)


def cell_kinds() -> list[str]:
    """The kinds of all cells."""
    return list(_cells())


def _cells() -> dict[str, Callable[..., AnyCell]]:
    """The sections of all kinds of cells."""
    sections = get_args(get_args(AnyCell)[0])
    return {kind: one for one in sections for kind in get_args(one.__annotations__["kind"])}


class _Sums:
    """Sums over steps and sentences, for each lag."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.firsts: list[float] = []
        """Of the norms at lag 0 of the same steps."""
        self.counts: list[int] = []

    def add(self, trace: LayerTrace, lags: int) -> None:
        """Add the steps of a batch."""
        from s2s.nn.gradient_flow import lag_norms

        for lag, norms in enumerate(lag_norms(trace, lags)):
            if lag == 0:
                firsts = norms
            inside = trace.inside_TB[lag:]
            count = int(inside.sum())
            if not count:
                break
            if lag == len(self.counts):
                self.norms.append(0.0)
                self.firsts.append(0.0)
                self.counts.append(0)
            self.norms[lag] += float(norms[inside].sum())
            self.firsts[lag] += float(firsts[lag:][inside].sum())
            self.counts[lag] += count

    def curve(self, name: str, cell: str, *, trained: bool) -> GradientCurve:
        """The means."""
        norms = [total / count for total, count in zip(self.norms, self.counts, strict=True)]
        pairs = zip(self.norms, self.firsts, strict=True)
        relative = [total / first if first else 0.0 for total, first in pairs]
        return GradientCurve(name, cell, trained, norms, relative)


class _Measured:
    """A run's data, and the models that are measured on them."""

    def __init__(self, run: Run, options: GradientOptions) -> None:
        from s2s.data.features.lookup import check_shapes, open_features
        from s2s.data.preparation.prepare import open_corpus
        from s2s.inference.load import model_of_weights
        from s2s.nn.device import choose_device, limit_threads
        from s2s.nn.state_dict import feature_shapes
        from s2s.text.tokenizer_pair import load_tokenizers

        self.run, self.options, self.recipe = run, options, run.recipe
        self.device = choose_device(options.device)
        limit_threads(self.recipe.model, self.device)
        weights = run.read_weights(options.checkpoint)
        self.tokenizers = load_tokenizers(run.tokenizer_folder)
        self.features = open_features(self.recipe.data, None, run.features_cache)
        if self.features is not None:
            check_shapes(self.features, feature_shapes(weights), self.recipe.model)
        self.trained = model_of_weights(self.recipe, self.tokenizers, weights, run.place)
        if options.side == "encoder" and self.trained.encoder is None:
            raise UsageError(
                f"{run.place}: its model reads no source text, so it has no such encoder; "
                "expected --side decoder"
            )
        if options.side == "decoder" and not self.trained.decoder.layers:
            raise UsageError(
                f"{run.place}: its model predicts labels, by a decoder without recurrence; "
                "expected --side encoder"
            )
        if options.side == "decoder" and self.trained.decoder.first_state:
            raise UsageError(
                f"{run.place}: a step of its decoder, '{self.recipe.model.decoder.kind}', has two "
                "cells with attention between them, through which gradients are not followed; "
                "expected --side encoder"
            )
        self.corpus = open_corpus(
            run.folder,
            options.split,
            self.features,
            tokenizers=self.tokenizers,
            is_copying=self.trained.is_copying,
        )
        self.lines = min(options.lines, len(self.corpus))
        self._check_lengths()

    def _check_lengths(self) -> None:
        is_decoder = self.options.side == "decoder"
        lengths = self.corpus.target_lengths if is_decoder else self.corpus.source_lengths
        longest = int(lengths[: self.lines].max(initial=0))
        if longest + 1 < LEAST_STEPS:
            side, split = "target" if is_decoder else "source", self.options.split
            raise UsageError(
                f"{self.run.place}: the longest {side} of the first {self.lines:,} {split} lines "
                f"has {longest} token{'s' * (longest != 1)}; going back takes two or more"
            )

    def models(self, cells: Sequence[AnyCell]) -> Iterator[tuple[str, str, Seq2Seq]]:
        """The models, with a name and the kind of the measured cell; the trained one first."""
        own = getattr(self.recipe.model, self.options.side).cell
        yield f"trained {own.kind}", own.kind, self.trained
        others = [own] if self.options.untrained else []
        # The run's own settings of a cell, rather than the defaults, where it is named too.
        others += [cell for cell in cells if cell.kind != own.kind or not others]
        for cell in others:
            used = own if cell.kind == own.kind else cell
            yield f"untrained {used.kind}", used.kind, self._untrained(used)

    def _untrained(self, cell: AnyCell) -> Seq2Seq:
        """The recipe's model before training, with another cell on the measured side."""
        from s2s.data.preparation.prepare import open_corpus
        from s2s.tasks.build import build_task

        model, side = self.recipe.model, self.options.side
        section = getattr(model, side)
        assert not isinstance(section, LabelDecoder), "a side with recurrence"
        try:
            model = replace(model, **{side: replace(section, cell=cell)})
        except ValueError as error:
            raise UsageError(f"--cells {cell.kind}: {self.run.place}: {error}") from error
        recipe: Recipe = replace(self.recipe, model=model)
        tokenizers: TokenizerPair = self.tokenizers
        train = open_corpus(self.run.folder, "train", self.features)
        return build_task(recipe, tokenizers).initial_model(train)

    def sums(self, model: Seq2Seq, report: Any) -> _Sums:
        """The sums of all lines; `report` is called with the lines done, and their number."""
        from s2s.nn.gradient_flow import decoder_trace, encoder_trace

        model = model.to(self.device).eval().requires_grad_(False)
        trace = decoder_trace if self.options.side == "decoder" else encoder_trace
        found, done = _Sums(), 0
        for batch in _batches(self.corpus, self.lines):
            found.add(trace(model, batch.to(str(self.device))), self.options.lags)
            done += len(batch.target_lengths)
            report(done, self.lines)
        return found


def _batches(corpus: Corpus, lines: int) -> Iterator[Batch]:
    """The first lines of a corpus, those of similar length together."""
    import numpy as np

    from s2s.data.batches import collate

    lengths = np.maximum(corpus.memory_lengths, corpus.target_lengths)[:lines] + 1
    order, start = np.argsort(lengths, kind="stable"), 0
    while start < lines:
        ends = lengths[order[start:]] * np.arange(1, lines - start + 1)
        size = max(1, int(np.searchsorted(ends, BATCH_ROWS, side="right")))
        yield collate(corpus, order[start : start + size])
        start += size
