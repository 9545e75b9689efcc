"""The one decoding loop.

A sentence's result does not depend on the sentences around it, their number or their order: it
is encoded and decoded in shapes that are functions of itself (`s2s.search.shapes`), the rows of a
block never influence each other, and a slot whose sentence is done takes the next one of the same
padded length from the queue, so that blocks stay full whatever the user calls a batch.

Dimension letters: E sentences encoded together, S source time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

import numpy as np
import torch
from torch import Tensor

from s2s.data.feature_lines import FeatureRows
from s2s.data.transfer import send
from s2s.errors import UsageError
from s2s.recipe import ExhaustiveSearch, Search
from s2s.search.block import Block, Entrants
from s2s.search.build import build_driven, build_strategy
from s2s.search.constraints import shortest_output
from s2s.search.demands import FREE, Bond, Demand, bond_of
from s2s.search.exhaustive import Asked, exhaust
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Inputs, Padded, Sources
from s2s.search.ledger import Ledger
from s2s.search.scorer import M, S, Scorer
from s2s.search.shapes import Shape, longest_output, shape_of
from s2s.search.shortlist import Shortlisted, restored
from s2s.search.strategy import Strategy


def search(  # noqa: PLR0913 (what is searched, how, and what is told on the way)
    scorer: Scorer[M, S],
    sources: Sources,
    settings: Search,
    device: str,
    *,
    keep: int = 1,
    places: Sequence[int] | None = None,
    demands: Sequence[Demand] | None = None,
    features: FeatureRows | None = None,
    want_attention: bool = False,
    progress: Callable[[int], None] | None = None,
    reduce: Callable[[Hypothesis], Hypothesis] | None = None,
) -> list[list[Hypothesis]]:
    """The `keep` best hypotheses of every source (token ids without EOS), best first.

    Samples come back all, in their own order.

    `progress` is called with the number of sources done, `reduce` with every hypothesis as it is
    found, to keep less of it. See `search_stream` for the rest.
    """
    found: list[list[Hypothesis]] = [[] for _ in sources]
    stream = search_stream(
        scorer,
        sources,
        settings,
        device,
        keep=keep,
        places=places,
        demands=demands,
        features=features,
        want_attention=want_attention,
    )
    for done, (index, hypotheses) in enumerate(stream, start=1):
        found[index] = hypotheses if reduce is None else [reduce(h) for h in hypotheses]
        if progress is not None:
            progress(done)
    return found


def search_stream(
    scorer: Scorer[M, S],
    sources: Sources,
    settings: Search,
    device: str,
    *,
    keep: int = 1,
    places: Sequence[int] | None = None,
    demands: Sequence[Demand] | None = None,
    features: FeatureRows | None = None,
    want_attention: bool = False,
    strategy: Strategy | None = None,
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """(index of source, its `keep` best hypotheses) as they are found, long sources first.

    `places` number the sources for sampling, 0 and following if None; `demands` say what each
    source's own output may and must hold, `features` what is known of it beside tokens. A source
    without either has one hypothesis without tokens; the model is not asked. Fewer than `keep`
    hypotheses come back only where there are no more. A module must be in `eval()` mode.
    Raises UsageError where `keep` exceeds the beam, S2sError where the model predicts NaN. A
    `strategy` takes the place of the one that the settings ask for.
    """
    strategy = strategy or build_strategy(settings, keep)
    if want_attention and isinstance(settings, ExhaustiveSearch):
        raise UsageError("exhaustive search keeps no attention; use greedy, beam or sample")
    numbers = range(len(sources)) if places is None else places
    inputs = Inputs(sources, numbers, demands, features)
    buckets: defaultdict[tuple[Bond, Padded], list[int]] = defaultdict(list)
    for index in range(len(sources)):
        if inputs.is_blank(index):
            yield index, [Hypothesis(index, (), 0.0, 0.0, finished=True)]
        else:
            buckets[bond_of(inputs.demand(index)), inputs.padded(index)].append(index)
    for bond, padded in sorted(buckets, reverse=True):
        # Long sources have long outputs: begun first, they leave the fewest slots idle at the end.
        queue = sorted(buckets[bond, padded], key=lambda i: -len(sources[i]))
        regions = sum(padded[1:])
        shape = shape_of(padded[0], strategy.width, settings, device, regions=regions)
        feed = Feed(scorer, inputs, (queue, padded), shape, torch.device(device))
        how = build_driven(settings, keep) if bond is Bond.DRIVEN else strategy
        block = Block(scorer, how, settings, shape, feed.device, is_bound=bond > Bond.FREE)
        for index, found in _decode(feed, block, want_attention):
            if isinstance(settings, ExhaustiveSearch):
                of_one = feed.scorer_of(index)
                whole = Asked((index, inputs), settings, feed.demand(index), keep)
                best = exhaust(of_one, whole, device, incumbents=found)
            else:
                best = found
            yield index, feed.restored(index, best)


class Feed(Generic[M, S]):
    """The queue of a bucket, encoded E sentences at a time when they are needed."""

    def __init__(
        self,
        scorer: Scorer[M, S],
        inputs: Inputs,
        bucket: tuple[Sequence[int], Padded],
        shape: Shape,
        device: torch.device,
    ) -> None:
        self.scorer = scorer
        self.inputs = inputs
        self.queue, self.padded = bucket
        self.shape = shape
        self.device = device
        self.taken = 0
        self.listed: dict[int, Tensor] = {}
        self.memory: M | None = None
        self.state: S | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all have been taken."""
        return self.taken == len(self.queue)

    def enter(self, block: Block[M, S], slots: Sequence[int]) -> list[int]:
        """Seat the next sources in some of `slots`, in that order; which sources these are."""
        entered: list[int] = []
        while len(entered) < len(slots) and not self.is_empty:
            place = self.taken % self.shape.encoded
            if place == 0:
                self._encode(self.queue[self.taken : self.taken + self.shape.encoded])
            assert self.memory is not None and self.state is not None
            free = slots[len(entered) : len(entered) + self.shape.encoded - place]
            keys = self.queue[self.taken : self.taken + len(free)]
            seats = np.asarray(free[: len(keys)], dtype=np.int64)
            block.put(seats, self.memory, self.state, place, self._entrants(keys, block.settings))
            entered.extend(keys)
            self.taken += len(keys)
        return entered

    def _entrants(self, keys: Sequence[int], settings: Search) -> Entrants:
        sources, places = self.inputs.sources, self.inputs.places
        return Entrants(
            places=[places[key] for key in keys],
            shortest=[shortest_output(len(sources[key]), settings) for key in keys],
            longest=[longest_output(len(sources[key]), settings) for key in keys],
            demands=[self.demand(key) for key in keys],
        )

    def _encode(self, keys: Sequence[int]) -> None:
        """Encode the next E sentences, dummies of EOS alone behind the last of the queue."""
        texts, lengths, features = self.inputs.encodable(keys, self.padded, self.shape.encoded)
        sources = send(texts, self.device)
        there = [regions.to(str(self.device)) for regions in features]
        # A scorer that reads no features need not know of them.
        more = (there,) if there else ()
        scorer = self._listing(keys, sources)
        self.memory = scorer.encode(sources, send(lengths, self.device), *more)
        self.state = self.scorer.start(self.memory)

    def _listing(self, keys: Sequence[int], sources: Tensor) -> Scorer[M, S]:
        """The scorer to encode with; the shortlists, where there are any, are kept by source."""
        if not isinstance(self.scorer, Shortlisted):
            return self.scorer
        wanted = [self.inputs.demand(key).tokens for key in keys]
        tokens_EL = self.scorer.shortlist.choose(sources, wanted)
        self.listed.update(zip(keys, tokens_EL.cpu(), strict=False))
        return self.scorer.among(tokens_EL)

    def scorer_of(self, key: int) -> Scorer[M, S]:
        """The scorer to encode one source with."""
        if not isinstance(self.scorer, Shortlisted):
            return self.scorer
        return self.scorer.among(send(self.listed[key].unsqueeze(0), self.device))

    def demand(self, key: int) -> Demand:
        """What a source that was encoded demands, in its shortlist's terms if it has one."""
        demand = self.inputs.demand(key)
        if demand is FREE or not isinstance(self.scorer, Shortlisted):
            return demand
        return demand.among(self.listed[key].tolist())

    def restored(self, key: int, found: list[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses of a source, with tokens for the places in its shortlist if it has one."""
        if not isinstance(self.scorer, Shortlisted):
            return found
        return restored(found, self.listed.pop(key).tolist())


@torch.inference_mode()
def _decode(
    feed: Feed[M, S], block: Block[M, S], want_attention: bool
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """Decode a bucket in one block that is refilled until its queue is empty."""
    shape, strategy, settings = feed.shape, block.strategy, block.settings
    ledger = Ledger(strategy, shape)
    # Moving sentences in costs a copy, an idle slot a share of a step: some are let gather.
    needs_attention = want_attention or strategy.coverage_penalty > 0.0
    refill = max(1, shape.slots // 8)
    while True:
        empty = ledger.empty
        if len(empty) >= refill and not feed.is_empty:
            for slot, key in zip(empty, feed.enter(block, empty.tolist()), strict=False):
                limit = longest_output(len(feed.inputs.sources[key]), settings)
                positions = feed.inputs.positions(key, feed.padded)
                ledger.admit(int(slot), key, positions, limit)
        elif len(empty) == shape.slots:
            return
        for slot in ledger.record(block.step(needs_attention)):
            yield int(ledger.key_B[slot]), ledger.release(int(slot))
