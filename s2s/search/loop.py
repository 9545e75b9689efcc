"""The one decoding loop.

A sentence's result does not depend on the sentences around it, their number or their order: it
is encoded and decoded in shapes that are functions of itself (`s2s.search.bucketing`), the rows of
a block never influence each other, and a slot whose sentence is done takes the next one of the
same padded length from the queue, so that blocks stay full whatever the user calls a batch.

Dimension letters: E sentences encoded together, S source time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from s2s.data.features.lookup import FeatureRows
from s2s.errors import UsageError
from s2s.recipe.search import CandidateSearch, ExhaustiveSearch, Search
from s2s.search import compaction
from s2s.search.beam_history import BeamHistory
from s2s.search.bucketing import longest_output, shape_of
from s2s.search.constraints.base import Effect
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.continuous_batching import SentenceQueue
from s2s.search.decoding_batch import DecodingBatch
from s2s.search.exhaustive import ExhaustiveInput, exhaust
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Inputs, Padded, Sources
from s2s.search.ranking import Ranking, ranked_stream
from s2s.search.scorer import M, S, Scorer
from s2s.search.strategies.base import Strategy
from s2s.search.strategies.build import (
    build_constrained_strategy,
    build_strategy,
    most_outputs,
)


def search(  # noqa: PLR0913 (inputs, settings and callbacks of a search)
    scorer: Scorer[M, S],
    sources: Sources,
    settings: Search,
    device: str,
    *,
    keep: int = 1,
    places: Sequence[int] | None = None,
    constraints: Sequence[ConstraintSpec] | None = None,
    features: FeatureRows | None = None,
    want_attention: bool = False,
    progress: Callable[[int], None] | None = None,
    reduce: Callable[[Hypothesis], Hypothesis] | None = None,
    ranking: Ranking | None = None,
) -> list[list[Hypothesis]]:
    """The `keep` best hypotheses of every source (token ids without EOS), best first.

    Sampling returns all samples, in their order.

    `progress` is called with the number of sources done. See `search_stream` for the rest.
    """
    found: list[list[Hypothesis]] = [[] for _ in sources]
    stream = search_stream(
        scorer,
        sources,
        settings,
        device,
        keep=keep,
        places=places,
        constraints=constraints,
        features=features,
        want_attention=want_attention,
        reduce=reduce,
        ranking=ranking,
    )
    for done, (index, hypotheses) in enumerate(stream, start=1):
        found[index] = hypotheses
        if progress is not None:
            progress(done)
    return found


def search_stream(  # noqa: PLR0913 (as above)
    scorer: Scorer[M, S],
    sources: Sources,
    settings: Search,
    device: str,
    *,
    keep: int = 1,
    places: Sequence[int] | None = None,
    constraints: Sequence[ConstraintSpec] | None = None,
    features: FeatureRows | None = None,
    want_attention: bool = False,
    strategy: Strategy | None = None,
    reduce: Callable[[Hypothesis], Hypothesis] | None = None,
    ranking: Ranking | None = None,
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """Pairs (index of source, its `keep` best hypotheses) as they are found, long sources first.

    `places` number the sources for sampling, from 0 if None. `constraints` are those of each
    output, `features` the image features of each source. A source without tokens and features has
    one empty hypothesis; the model does not run. Fewer than `keep` hypotheses are returned only if
    there are no more. A module must be in `eval()` mode. `strategy` replaces that of the settings.
    `reduce` is called with every hypothesis as it is found, to keep less of it. A `ranking` ranks
    the results of its own searches, which replace that of the settings.

    Raises UsageError where `keep` exceeds the beam, S2sError where the model predicts NaN.
    """
    strategy = strategy or build_strategy(settings, keep)
    if want_attention and isinstance(settings, ExhaustiveSearch):
        raise UsageError("exhaustive search keeps no attention; use greedy, beam or sample")
    numbers = range(len(sources)) if places is None else places
    inputs = Inputs(sources, numbers, constraints, features)

    def find(
        settings: Search, indices: Sequence[int], keep: int, strategy: Strategy
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        step = _Search(settings, strategy, keep, device, want_attention)
        for index, found in _search_inputs(scorer, inputs, indices, step):
            yield index, found if reduce is None else list(map(reduce, found))

    if ranking is None:
        assert not isinstance(settings, CandidateSearch), "only a ranking knows the texts"
        yield from find(settings, range(len(sources)), keep, strategy)
        return

    def candidates(
        settings: Search, indices: Sequence[int]
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        most = most_outputs(settings)
        return find(settings, indices, most, build_strategy(settings, most))

    yield from ranked_stream(
        candidates, ranking, inputs, keep=keep, want_attention=want_attention and reduce is None
    )


class _Search(NamedTuple):
    """How sources are searched."""

    settings: Search
    strategy: Strategy
    keep: int
    device: str
    want_attention: bool


def _search_inputs(
    scorer: Scorer[M, S], inputs: Inputs, indices: Sequence[int], how: _Search
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """The hypotheses of the sources with these indices; see `search_stream`."""
    settings, strategy, keep, device, want_attention = how
    buckets: defaultdict[tuple[Effect, Padded], list[int]] = defaultdict(list)
    for index in indices:
        if inputs.is_blank(index):
            yield index, [Hypothesis(index, (), 0.0, 0.0, finished=True)]
        else:
            buckets[inputs.constraint(index).effect, inputs.padded(index)].append(index)
    for effect, padded in sorted(buckets, reverse=True):
        # Long sources have long outputs: starting with them leaves the fewest slots idle at the
        # end.
        in_bucket = sorted(buckets[effect, padded], key=lambda i: -len(inputs.sources[i]))
        regions = sum(padded[1:])
        shape = shape_of(padded[0], strategy.width, settings, device, regions=regions)
        queue = SentenceQueue(scorer, inputs, (in_bucket, padded), shape, torch.device(device))
        guided = effect is Effect.GUIDE
        chosen = build_constrained_strategy(settings, keep) if guided else strategy
        batch = DecodingBatch(
            scorer, chosen, settings, shape, queue.device, has_constraints=effect > Effect.NONE
        )
        for index, found in _decode(queue, batch, want_attention):
            if isinstance(settings, ExhaustiveSearch):
                of_one = queue.scorer_of(index)
                whole = ExhaustiveInput((index, inputs), settings, queue.constraint(index), keep)
                best = exhaust(of_one, whole, device, incumbents=found)
            else:
                best = found
            yield index, queue.restored(index, best)


@torch.inference_mode()
def _decode(
    queue: SentenceQueue[M, S], batch: DecodingBatch[M, S], want_attention: bool
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """Decode a bucket in one block that is refilled until its queue is empty."""
    shape, strategy, settings = queue.shape, batch.strategy, batch.settings
    history = BeamHistory(strategy, shape)
    # Moving sentences in costs a copy, an idle slot a share of a step: some are let gather.
    needs_attention = want_attention or strategy.coverage_penalty > 0.0
    refill = max(1, shape.slots // 8)
    may_shrink = queue.device.type == "cpu" and queue.has_one_scorer
    while True:
        empty = history.empty
        if len(empty) >= refill and not queue.is_empty:
            for slot, key in zip(empty, queue.enter(batch, empty.tolist()), strict=False):
                limit = longest_output(len(queue.inputs.sources[key]), settings)
                positions = queue.inputs.positions(key, queue.padded)
                history.admit(int(slot), key, positions, limit)
        elif len(empty) == batch.slots:
            return
        if queue.is_empty and may_shrink:
            kept = _kept(history, batch)
            if len(kept) < batch.slots and batch.keep(kept, queue.padded):
                history.keep(kept)
        for slot in history.record(batch.step(needs_attention)):
            yield int(history.key_B[slot]), history.release(int(slot))


def _kept(history: BeamHistory, batch: DecodingBatch[M, S]) -> NDArray[np.int64]:
    """The slots of the sentences in search, and idle ones up to the size of a smaller batch."""
    occupied = np.flatnonzero(history.key_B >= 0)
    size = compaction.smaller_size(batch.slots, batch.strategy.width, len(occupied))
    return np.sort(np.concatenate((occupied, history.empty[: size - len(occupied)])))
