"""Search as `s2s translate` does it, from token ids to token ids."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from s2s.bench.flops import FORWARD, Operations
from s2s.bench.report import DecodingFigures
from s2s.bench.timing import Clock, Taken, Turn, rate, times
from s2s.bench.workload import Workload, read_lengths, workload_of
from s2s.inference.process_pool import Pool, equal_shares
from s2s.nn.device import keep_freed_memory
from s2s.nn.model import Seq2Seq
from s2s.nn.quantized import InferenceModel, inference_model
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.run.directory import Run
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.special import EOS

WIDTH = 5
"""Hypotheses of the beam."""

NEVER = -100.0
"""Bias of the end of sentence in a model that knows nothing: outputs end where they are cut."""

Settings = GreedySearch | BeamSearch


class Way(NamedTuple):
    """One search in one precision."""

    name: str
    settings: Settings
    precision: SearchPrecision
    """Of the products."""
    processes: int
    """Among which sentences are divided."""

    @property
    def key(self) -> str:
        """Of its turn."""
        return f"{self.name}, {self.precision}, {self.processes} processes"

    @property
    def width(self) -> int:
        """Hypotheses of a sentence."""
        return self.settings.width if isinstance(self.settings, BeamSearch) else 1


@dataclass
class Amounts:
    """What a search of all sentences had to do."""

    tokens: int
    """Predictions of the best outputs."""
    operations: float


class Part(NamedTuple):
    """Some of the sentences, searched in a way."""

    way: Way
    start: int
    end: int


class Searches:
    """Searches of a workload's sentences."""

    def __init__(self, workload: Workload, sentences: int) -> None:
        self.workload = workload
        self.sources = workload.sources(sentences)
        self.features = workload.image_features_of(len(self.sources))
        self.device = workload.model.output.bias.device
        self.scorers: dict[SearchPrecision, InferenceModel] = {}

    @cached_property
    def model(self) -> Seq2Seq:
        """The workload's; one that knows nothing never ends a sentence by itself."""
        if self.workload.run is not None:
            return self.workload.model
        model = copy.deepcopy(self.workload.model)
        with torch.no_grad():
            model.output.bias[EOS] = NEVER
        return model

    def prepare(self, precision: SearchPrecision) -> None:
        """Make the model ready, unless it is."""
        if precision not in self.scorers:
            self.scorers[precision] = inference_model(self.model, precision)

    def __call__(self, part: Part) -> list[Hypothesis]:
        """The best output of every sentence of a part."""
        (way, start, end), features = part, self.features
        self.prepare(way.precision)
        found = search(
            self.scorers[way.precision],
            self.sources[start:end],
            way.settings,
            str(self.device),
            features=None if features is None else features.part(start, end),
        )
        return [best[0] for best in found]


def begin_searches(subject: Recipe | Run, sentences: int) -> Searches:
    """The same in a process of its own."""
    keep_freed_memory()
    return Searches(workload_of(subject, torch.device("cpu")), sentences)


class Decoding:
    """Greedy and beam search in every precision over the same sentences, by this process and, where
    `processes` are more than one, by so many others."""

    def __init__(
        self,
        workload: Workload,
        sentences: int,
        precisions: Sequence[SearchPrecision],
        processes: int = 1,
    ) -> None:
        self.workload = workload
        self.sentences = sentences
        self.searches = Searches(workload, sentences)
        self.sources = self.searches.sources
        self.ways = [
            Way(name, settings, precision, count)
            for count in sorted({1, processes})
            for name, settings in _searches(workload).items()
            for precision in precisions
        ]
        self.amounts: dict[str, Amounts] = {}
        self.pool: Pool[Part, list[Hypothesis]] | None = None

    @property
    def turns(self) -> list[Turn]:
        """One for each way."""
        return [Turn(way.key, partial(self._run, way)) for way in self.ways]

    def close(self) -> None:
        """End the other processes."""
        if self.pool is not None:
            self.pool.close()

    def search(self, way: Way) -> list[Hypothesis]:
        """The best output of every sentence."""
        if way.processes == 1:
            return self.searches(Part(way, 0, len(self.sources)))
        if self.pool is None:  # not before something is measured with it
            subject = self.workload.run or self.workload.recipe
            self.pool = Pool(partial(begin_searches, subject, self.sentences), way.processes)
        sizes = [len(source) + 1 for source in self.sources]
        parts = [Part(way, *share) for share in equal_shares(sizes, way.processes)]
        return list(chain.from_iterable(self.pool(parts)))

    def _run(self, way: Way) -> tuple[float]:
        if way.processes == 1:
            self.searches.prepare(way.precision)
        clock = Clock(self.searches.device)
        found = self.search(way)
        seconds = clock.lap(way.key)
        if way.key not in self.amounts:  # the same in every repeat
            lengths = [max(1, best.length) for best in found]
            self.amounts[way.key] = self._amounts(lengths, way.width)
        return (seconds,)

    def _amounts(self, lengths: Sequence[int], width: int) -> Amounts:
        """Of sources that are encoded once, and `width` hypotheses of these lengths each."""
        workload, steps = self.workload, width * np.array(lengths, dtype=np.int64)
        read = read_lengths(workload.held_out, np.arange(len(lengths)))
        operations = FORWARD * Operations.of(self.searches.model).forward(*read, steps)
        return Amounts(sum(lengths), operations)

    def figures(self, taken: Taken, limits: dict[str, float]) -> list[DecodingFigures]:
        """Of every way that was measured at least once."""
        found = []
        for way in self.ways:
            if way.key not in taken:
                continue
            seconds = [one for (one,) in taken[way.key]]
            amounts = self.amounts[way.key]
            # What several processes could do at most is not measured.
            limit = limits.get(way.precision) if way.processes == 1 else None
            per_token = amounts.operations / amounts.tokens
            speed = rate(amounts.tokens, seconds)
            done = times(speed, per_token)
            figures = DecodingFigures(
                search=way.name,
                precision=way.precision,
                processes=way.processes,
                sentences=len(self.sources),
                tokens=amounts.tokens,
                sentences_per_second=rate(len(self.sources), seconds),
                tokens_per_second=speed,
                operations_per_token=per_token,
                operations_per_second=done,
                share=done.median / limit if limit else None,
            )
            found.append(figures)
        return found


def _searches(workload: Workload) -> dict[str, Settings]:
    """Greedy and beam search; random weights write as many tokens as they read, or of an image as
    many as targets have on average."""
    own, corpus = workload.recipe.search, workload.held_out
    ratio, offset = own.max_ratio, own.max_offset
    if workload.run is None:
        ratio, offset = 1.0, 1
        if corpus.features is not None and not corpus.features.has_text:
            offset += round(float(corpus.target_lengths.mean()))
    return {
        "greedy": GreedySearch(kind="greedy", max_ratio=ratio, max_offset=offset),
        f"beam {WIDTH}": BeamSearch(kind="beam", width=WIDTH, max_ratio=ratio, max_offset=offset),
    }
