"""Measures search as in `s2s translate`, from token ids to token ids."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from s2s.bench.flops import FORWARD, Operations
from s2s.bench.report import DecodingResults
from s2s.bench.timing import Clock, Measurements, Turn, rate, scaled
from s2s.bench.workload import Workload, read_lengths, workload_of
from s2s.inference.process_pool import Pool, equal_shares
from s2s.nn.device import keep_freed_memory
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.run.directory import Run
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.special import EOS

WIDTH = 5
"""The width of the beam."""

NEVER = -100.0
"""Bias of the end of sentence in a model of random weights: outputs end at the longest length."""

Settings = GreedySearch | BeamSearch


class SearchSetup(NamedTuple):
    """One search in one precision."""

    name: str
    settings: Settings
    precision: SearchPrecision
    """The precision of matrix products."""
    processes: int
    """The number of processes that share the sentences."""

    @property
    def key(self) -> str:
        """The name of its turn."""
        return f"{self.name}, {self.precision}, {self.processes} processes"

    @property
    def width(self) -> int:
        """The number of hypotheses of a sentence."""
        return self.settings.width if isinstance(self.settings, BeamSearch) else 1


@dataclass
class Work:
    """The work of a search of all sentences."""

    tokens: int
    """The number of predictions of the best outputs."""
    operations: float


class Part(NamedTuple):
    """A range of the sentences, with the setup of their search."""

    setup: SearchSetup
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
        """The model; with random weights it never predicts the end of a sentence."""
        if self.workload.run is not None:
            return self.workload.model
        model = copy.deepcopy(self.workload.model)
        with torch.no_grad():
            model.output.bias[EOS] = NEVER
        return model

    def prepare(self, precision: SearchPrecision) -> None:
        """Prepare the model for a precision, once."""
        if precision not in self.scorers:
            self.scorers[precision] = inference_model(self.model, precision)

    def __call__(self, part: Part) -> list[Hypothesis]:
        """The best output of every sentence of a part."""
        (setup, start, end), features = part, self.features
        self.prepare(setup.precision)
        found = search(
            self.scorers[setup.precision],
            self.sources[start:end],
            setup.settings,
            str(self.device),
            features=None if features is None else features.part(start, end),
        )
        return [best[0] for best in found]


def begin_searches(subject: Recipe | Run, sentences: int) -> Searches:
    """The searches of a worker process."""
    keep_freed_memory()
    return Searches(workload_of(subject, torch.device("cpu")), sentences)


class Decoding:
    """Greedy and beam search in every precision over the same sentences, by this process and, if
    `processes` are more than one, by so many workers."""

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
        self.setups = [
            SearchSetup(name, settings, precision, count)
            for count in sorted({1, processes})
            for name, settings in _searches(workload).items()
            for precision in precisions
        ]
        self.work: dict[str, Work] = {}
        self.pool: Pool[Part, list[Hypothesis]] | None = None

    @property
    def turns(self) -> list[Turn]:
        """A turn for each setup."""
        return [Turn(setup.key, partial(self._run, setup)) for setup in self.setups]

    def close(self) -> None:
        """Terminate the workers."""
        if self.pool is not None:
            self.pool.close()

    def search(self, setup: SearchSetup) -> list[Hypothesis]:
        """The best output of every sentence."""
        if setup.processes == 1:
            return self.searches(Part(setup, 0, len(self.sources)))
        if self.pool is None:  # no earlier, to leave other measurements alone
            subject = self.workload.run or self.workload.recipe
            self.pool = Pool(partial(begin_searches, subject, self.sentences), setup.processes)
        sizes = [len(source) + 1 for source in self.sources]
        parts = [Part(setup, *share) for share in equal_shares(sizes, setup.processes)]
        return list(chain.from_iterable(self.pool(parts)))

    def _run(self, setup: SearchSetup) -> tuple[float]:
        if setup.processes == 1:
            self.searches.prepare(setup.precision)
        clock = Clock(self.searches.device)
        found = self.search(setup)
        seconds = clock.lap(setup.key)
        if setup.key not in self.work:  # the same in every repeat
            lengths = [max(1, best.length) for best in found]
            self.work[setup.key] = self._work_of(lengths, setup.width)
        return (seconds,)

    def _work_of(self, lengths: Sequence[int], width: int) -> Work:
        """The work of sources, encoded once, and of `width` hypotheses of these lengths each."""
        workload, steps = self.workload, width * np.array(lengths, dtype=np.int64)
        read = read_lengths(workload.held_out, np.arange(len(lengths)))
        operations = FORWARD * Operations.of(self.searches.model).forward(*read, steps)
        return Work(sum(lengths), operations)

    def results(self, taken: Measurements, limits: dict[str, float]) -> list[DecodingResults]:
        """The results of every setup that was measured at least once."""
        found = []
        for setup in self.setups:
            if setup.key not in taken:
                continue
            seconds = [one for (one,) in taken[setup.key]]
            work = self.work[setup.key]
            # The limit of several processes is not measured.
            limit = limits.get(setup.precision) if setup.processes == 1 else None
            per_token = work.operations / work.tokens
            speed = rate(work.tokens, seconds)
            done = scaled(speed, per_token)
            result = DecodingResults(
                search=setup.name,
                precision=setup.precision,
                processes=setup.processes,
                sentences=len(self.sources),
                tokens=work.tokens,
                sentences_per_second=rate(len(self.sources), seconds),
                tokens_per_second=speed,
                operations_per_token=per_token,
                operations_per_second=done,
                share=done.median / limit if limit else None,
            )
            found.append(result)
        return found


def _searches(workload: Workload) -> dict[str, Settings]:
    """Greedy and beam search. Random weights write as many tokens as they read, and for an image as
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
