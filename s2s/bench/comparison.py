"""Compares the speed of s2s with that of another toolkit, on one model and the same sentences.

Both train on identical batches and search outputs of equal length for identical sources, in turns:
a temporary slowdown of the machine affects both. Every batch has as many pairs, for not all
toolkits take batches of varying size; sources to search have as many tokens, for not all toolkits
end an output by the length of its own source. All compute in fp32 on a CPU.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from s2s.bench.decoding import NEVER, WIDTH
from s2s.bench.report import ComparedSpeed, ComparisonResults
from s2s.bench.timing import Measurements, Turn, rate, spread
from s2s.bench.toolkit_process import Job, ToolkitProcess
from s2s.bench.toolkits import BY_NAME, ToolkitName, options_of
from s2s.bench.training import Training
from s2s.bench.workload import TOKENS, Workload
from s2s.data.batches import ONE_BLOCK, ROW_MULTIPLE, batch_plan, num_target_tokens
from s2s.data.store import Corpus
from s2s.errors import S2sError, UsageError
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.search.bucketing import SLOTS
from s2s.search.loop import search
from s2s.special import EOS, SPECIAL_PIECES
from s2s.training.trainer import TIME_MULTIPLE

Request = Literal["training", "greedy", "beam"]

UNITS: dict[Request, str] = {
    "training": "target tokens",
    "greedy": "sentences",
    "beam": "sentences",
}
"""What each request processes, counted in the results."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The other toolkit."""

    name: ToolkitName
    python: str
    """The Python that has it."""


class Comparison:
    """Training and search by s2s and by another toolkit."""

    def __init__(
        self, workload: Workload, peer: Peer, amounts: tuple[int, int], folder: Path
    ) -> None:
        """Start the other toolkit; `amounts` are updates and sentences of a repeat.

        Raises RecipeError for a recipe that has no counterpart there, UsageError for threads that
        it does not train with, and where it is not installed.
        """
        self.toolkit = BY_NAME[peer.name]
        self.options = options_of(self.toolkit, workload.recipe)
        threads = torch.get_num_threads()
        most = self.toolkit.most_threads
        if most is not None and threads > most:
            raise UsageError(
                f"--compare {peer.name}: expected --threads {most}, found {threads}: "
                f"{self.toolkit.title} does not divide an update among the threads of a CPU"
            )
        recipe = workload.recipe
        precise = replace(recipe, train=replace(recipe.train, precision="fp32"))
        self.workload = replace(workload, recipe=precise)
        self.batches = equal_batches(self.workload, amounts[0])
        self.sources = equal_sources(self.workload, amounts[1])
        self.length = len(self.sources[0]) + 1
        self.tokens: dict[Request, int] = {
            "training": sum(num_target_tokens(workload.corpus, pairs) for pairs in self.batches),
            **dict.fromkeys(("greedy", "beam"), len(self.sources) * self.length),
        }
        self.training = Training(self.workload, [[pairs] for pairs in self.batches])
        self.searched: InferenceModel | None = None
        self.process = ToolkitProcess(self.toolkit, peer.python, self._job(folder, threads))
        try:
            self.ready = self.process.ready()
        except BaseException:
            self.process.close()
            raise

    def _job(self, folder: Path, threads: int) -> Job:
        corpus, sizes = self.workload.corpus, self.workload.sizes
        batches = [_pairs(corpus, pairs) for pairs in self.batches]
        lengths = [len(side) for batch in batches for pair in batch for side in pair]
        return Job(
            toolkit=self.toolkit.name,
            options=self.options,
            threads=threads,
            seed=self.workload.recipe.seed,
            folder=str(folder),
            vocabularies=(sizes.source_vocabulary, sizes.target_vocabulary),
            shared=self.workload.recipe.model.tied == "all",
            batches=batches,
            longest=max(lengths) + 1,
            sources=self.sources,
            length=self.length,
            rows=SLOTS["cpu"],
            beam=WIDTH,
        )

    @property
    def turns(self) -> list[Turn]:
        """A turn of s2s and one of the other toolkit for each request."""
        own, name = self._own, self.toolkit.name
        return [
            turn
            for request in UNITS
            for turn in (
                Turn(f"s2s, {request}, with {name}", partial(own, request)),
                Turn(f"{name}, {request}", partial(self._other, request)),
            )
        ]

    def close(self) -> None:
        """Terminate the other toolkit."""
        self.process.close()

    def _own(self, request: Request) -> tuple[float]:
        if request == "training":
            return (self.training.run()[0],)
        if self.searched is None:
            model = copy.deepcopy(self.workload.model)
            with torch.no_grad():
                model.output.bias[EOS] = NEVER
            self.searched = inference_model(model, "fp32")
        clock = self.training.clock
        clock.restart()
        found = search(self.searched, self.sources, _settings(request), "cpu")
        seconds = clock.lap(request)
        self._check(request, "s2s", sum(best[0].length for best in found))
        return (seconds,)

    def _other(self, request: Request) -> tuple[float]:
        seconds, tokens = self.process(request)
        self._check(request, self.toolkit.title, tokens)
        return (seconds,)

    def _check(self, request: Request, who: str, tokens: int) -> None:
        if tokens != self.tokens[request]:
            raise S2sError(
                f"--compare {self.toolkit.name}: {request}: expected {self.tokens[request]} "
                f"tokens, found {tokens} by {who}; their speeds cannot be compared"
            )

    def results(self, taken: Measurements) -> ComparisonResults | None:
        """The results of what both did at least once; None if there is nothing."""
        speeds = []
        for request, (own, other) in zip(UNITS, _in_pairs(self.turns), strict=True):
            both = [
                (mine, theirs)
                for (mine,), (theirs,) in zip(
                    taken.get(own.name, ()), taken.get(other.name, ()), strict=False
                )
            ]
            if both:
                speeds.append(self._speed(request, both))
        if not speeds:
            return None
        return ComparisonResults(
            toolkit=self.toolkit.title,
            versions=self.ready.versions,
            options=self.options,
            parameters=self.ready.parameters,
            batch_pairs=len(self.batches[0]),
            updates=len(self.batches),
            sentences=len(self.sources),
            source_length=self.length - 1,
            speeds=speeds,
        )

    def _speed(self, request: Request, both: Sequence[tuple[float, float]]) -> ComparedSpeed:
        tokens = self.tokens[request]
        amount = tokens if request == "training" else len(self.sources)
        return ComparedSpeed(
            name=f"beam {WIDTH}" if request == "beam" else request,
            unit=UNITS[request],
            tokens=tokens,
            own=rate(amount, (mine for mine, _ in both)),
            other=rate(amount, (theirs for _, theirs in both)),
            ratio=spread(theirs / mine for mine, theirs in both),
        )


def _in_pairs(turns: Sequence[Turn]) -> list[tuple[Turn, Turn]]:
    return list(zip(turns[::2], turns[1::2], strict=True))


def _settings(request: Request) -> GreedySearch | BeamSearch:
    """A search whose outputs may be as long as their source, end of sentence included."""
    if request == "greedy":
        return GreedySearch(kind="greedy", max_ratio=1.0, max_offset=1)
    return BeamSearch(kind="beam", width=WIDTH, max_ratio=1.0, max_offset=1)


def equal_batches(workload: Workload, updates: int) -> list[NDArray[np.int64]]:
    """Batches of equally many pairs (int64 [B] each) of similar length: as many as those of
    training have on average. They are spread evenly over all lengths of the corpus."""
    recipe, corpus = workload.recipe, workload.corpus
    lengths = (corpus.memory_lengths, corpus.target_lengths)
    plan = batch_plan(
        lengths, recipe.train.fixed_batch_tokens, seed=recipe.seed, epoch=0, multiple=TIME_MULTIPLE
    )
    rows = max(1, len(corpus) // len(plan))
    rows -= rows % ROW_MULTIPLE if rows >= ONE_BLOCK else 0
    count = len(corpus) // rows
    chosen = sorted({int((i + 0.5) * count / updates) for i in range(updates)})
    return [plan.order[i * rows : (i + 1) * rows] for i in chosen]


def equal_sources(workload: Workload, count: int) -> list[list[int]]:
    """`count` sources, or fewer if they are long, cut to the mean length of the training sources
    and without special tokens."""
    corpus = workload.held_out
    length = max(1, round(float(workload.corpus.source_lengths.mean())))
    places = np.flatnonzero(corpus.source_lengths >= length)
    if not len(places):
        length = int(corpus.source_lengths.max())
        places = np.flatnonzero(corpus.source_lengths == length)
    count = max(1, min(count, count * TOKENS // length))
    begins = corpus.source_offsets[np.resize(places, count)]
    return [_ids(corpus.source_values[begin : begin + length]) for begin in begins]


def _pairs(corpus: Corpus, pairs: NDArray[np.int64]) -> list[tuple[list[int], list[int]]]:
    """The token ids of pairs, without end of sentence."""
    sources, targets = corpus.source_offsets, corpus.target_offsets
    return [
        (
            _ids(corpus.source_values[sources[pair] : sources[pair + 1]]),
            _ids(corpus.target_values[targets[pair] : targets[pair + 1]]),
        )
        for pair in pairs
    ]


def _ids(values: NDArray[np.integer[Any]]) -> list[int]:
    """Token ids, those of special tokens replaced by the first other one: toolkits number their
    special tokens differently."""
    found: list[int] = np.maximum(values, len(SPECIAL_PIECES)).tolist()
    return found
