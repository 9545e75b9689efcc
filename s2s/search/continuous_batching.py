"""Hands sentences to the decoding loop as others end."""

from collections.abc import Sequence
from typing import Generic

import numpy as np
import torch
from torch import Tensor

from s2s.nn.device import to_device
from s2s.recipe.search import Search
from s2s.search.bucketing import Shape, longest_output
from s2s.search.constraints.logits import shortest_output
from s2s.search.constraints.spec import FREE, ConstraintSpec
from s2s.search.decoding_batch import DecodingBatch, NewSentences
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Inputs, Padded
from s2s.search.scorer import M, S, Scorer
from s2s.search.shortlist import Shortlisted, restored


class SentenceQueue(Generic[M, S]):
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

    def enter(self, batch: DecodingBatch[M, S], slots: Sequence[int]) -> list[int]:
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
            batch.put(seats, self.memory, self.state, place, self._entrants(keys, batch.settings))
            entered.extend(keys)
            self.taken += len(keys)
        return entered

    def _entrants(self, keys: Sequence[int], settings: Search) -> NewSentences:
        sources, places = self.inputs.sources, self.inputs.places
        return NewSentences(
            places=[places[key] for key in keys],
            shortest=[shortest_output(len(sources[key]), settings) for key in keys],
            longest=[longest_output(len(sources[key]), settings) for key in keys],
            constraints=[self.constraint(key) for key in keys],
        )

    def _encode(self, keys: Sequence[int]) -> None:
        """Encode the next E sentences, dummies of EOS alone behind the last of the queue."""
        texts, lengths, features = self.inputs.encodable(keys, self.padded, self.shape.encoded)
        sources = to_device(texts, self.device)
        there = [regions.to(str(self.device)) for regions in features]
        # A scorer that reads no features need not know of them.
        more = (there,) if there else ()
        scorer = self._listing(keys, sources)
        self.memory = scorer.encode(sources, to_device(lengths, self.device), *more)
        self.state = self.scorer.start(self.memory)

    def _listing(self, keys: Sequence[int], sources: Tensor) -> Scorer[M, S]:
        """The scorer to encode with; the shortlists, where there are any, are kept by source."""
        if not isinstance(self.scorer, Shortlisted):
            return self.scorer
        wanted = [self.inputs.constraint(key).tokens for key in keys]
        tokens_EL = self.scorer.shortlist.choose(sources, wanted)
        self.listed.update(zip(keys, tokens_EL.cpu(), strict=False))
        return self.scorer.among(tokens_EL)

    def scorer_of(self, key: int) -> Scorer[M, S]:
        """The scorer to encode one source with."""
        if not isinstance(self.scorer, Shortlisted):
            return self.scorer
        return self.scorer.among(to_device(self.listed[key].unsqueeze(0), self.device))

    def constraint(self, key: int) -> ConstraintSpec:
        """What a source that was encoded demands, in its shortlist's terms if it has one."""
        constraint = self.inputs.constraint(key)
        if constraint is FREE or not isinstance(self.scorer, Shortlisted):
            return constraint
        return constraint.among(self.listed[key].tolist())

    def restored(self, key: int, found: list[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses of a source, with tokens for the places in its shortlist if it has one."""
        if not isinstance(self.scorer, Shortlisted):
            return found
        return restored(found, self.listed.pop(key).tolist())
