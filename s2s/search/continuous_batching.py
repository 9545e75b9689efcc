"""Continuous batching: a sentence enters the decoding batch as soon as another one ends."""

from collections.abc import Sequence
from typing import Generic

import numpy as np
import torch

from s2s.nn.device import to_device
from s2s.recipe.search import Search
from s2s.search.bucketing import Shape, longest_output
from s2s.search.compaction import are_equal, is_known, remember, smaller_size
from s2s.search.constraints.logits import shortest_output
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.decoding_batch import DecodingBatch, NewSentences
from s2s.search.hypothesis import Hypothesis
from s2s.search.inputs import Inputs, Padded
from s2s.search.scorer import M, S, Scorer
from s2s.search.token_map import AllTokens, token_map_of


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
        self.tokens = token_map_of(scorer)
        self.inputs = inputs
        self.queue, self.padded = bucket
        self.shape = shape
        self.device = device
        self.taken = 0
        self.memory: M | None = None
        self.state: S | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all sentences have entered."""
        return self.taken == len(self.queue)

    @property
    def has_one_scorer(self) -> bool:
        """Whether all sentences have the same scorer."""
        return isinstance(self.tokens, AllTokens)

    def enter(self, batch: DecodingBatch[M, S], slots: Sequence[int]) -> list[int]:
        """Put the next sources into some of `slots`, in that order; returns which sources."""
        entered: list[int] = []
        while len(entered) < len(slots) and not self.is_empty:
            place = self.taken % self.shape.encoded
            if place == 0:
                self._encode(self.queue[self.taken : self.taken + self.shape.encoded])
            assert self.memory is not None and self.state is not None
            free = slots[len(entered) : len(entered) + self.shape.encoded - place]
            keys = self.queue[self.taken : self.taken + len(free)]
            free_slots = np.asarray(free[: len(keys)], dtype=np.int64)
            batch.put(
                free_slots, self.memory, self.state, place, self._entrants(keys, batch.settings)
            )
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
        """Encode the next E sentences, the last of the queue by themselves (`compaction`)."""
        whole, tokens = self.shape.encoded, self.tokens
        fewer = smaller_size(whole, 1, len(keys))
        if fewer == whole or self.device.type != "cpu" or not isinstance(tokens, AllTokens):
            self.memory, self.state = self._encoded(keys, whole)
            return
        sizes = ("encoder", whole, fewer, self.padded, torch.get_num_threads())
        known = is_known(tokens.scorer, sizes)
        self.memory, self.state = self._encoded(keys, whole if known is False else fewer)
        if known is None:
            part = self.memory, self.state
            self.memory, self.state = self._encoded(keys, whole)
            is_equal = are_equal((self.memory, self.state), torch.arange(fewer), part)
            remember(tokens.scorer, sizes, is_equal=is_equal)

    def _encoded(self, keys: Sequence[int], count: int) -> tuple[M, S]:
        """Memory and first state of sentences; dummies of EOS alone follow, `count` in all."""
        texts, lengths, features = self.inputs.encodable(keys, self.padded, count)
        sources = to_device(texts, self.device)
        moved = [regions.to(str(self.device)) for regions in features]
        # Scorers without image features have no such argument.
        more = (moved,) if moved else ()
        wanted = [self.inputs.constraint(key).tokens for key in keys]
        scorer = self.tokens.scorer_for(keys, sources, wanted)
        memory = scorer.encode(sources, to_device(lengths, self.device), *more)
        return memory, scorer.start(memory)

    def scorer_of(self, key: int) -> Scorer[M, S]:
        """The scorer that encodes one source again."""
        return self.tokens.scorer_of(key)

    def constraint(self, key: int) -> ConstraintSpec:
        """The constraints of an encoded source, in the numbers of its scorer."""
        return self.tokens.constraint(key, self.inputs.constraint(key))

    def restored(self, key: int, found: list[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses of a source, in tokens of the vocabulary."""
        return self.tokens.restored(key, found)
