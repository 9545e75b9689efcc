"""The inputs of search: texts, image features or both, in shapes that depend on each source alone.

Dimension letters: E sentences encoded together, S source time, F feature files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.data.features.lookup import FeatureRows
from s2s.nn.batch import Regions
from s2s.search.bucketing import bucket
from s2s.search.constraints.spec import UNCONSTRAINED, ConstraintSpec
from s2s.special import EOS, PAD

Sources = Sequence[Sequence[int]]

Padded = tuple[int, ...]
"""The padded lengths of a source: of its text, EOS included (0 without), then of the regions of
each feature file."""


class Encodable(NamedTuple):
    """The inputs of `Scorer.encode`."""

    source_ES: Tensor
    """int64, texts with EOS; S is 0 without text."""
    length_E: Tensor
    features: tuple[Regions, ...]


class Positions(NamedTuple):
    """The positions of a source in the memory, without padding."""

    all: NDArray[np.int64]
    """int64: its words and EOS, then its regions."""
    covered: NDArray[np.bool_]
    """bool, by position: true but for EOS, which coverage leaves out."""


class Inputs(NamedTuple):
    """The sources of a search."""

    sources: Sources
    """Token ids without EOS."""
    places: Sequence[int]
    """The number of each source, on which its samples depend."""
    constraints: Sequence[ConstraintSpec] | None
    """The constraints of each source; None if no source has any."""
    features: FeatureRows | None
    """The image features of each source."""

    def constraint(self, key: int) -> ConstraintSpec:
        """The constraints of source `key`."""
        return UNCONSTRAINED if self.constraints is None else self.constraints[key]

    @property
    def has_text(self) -> bool:
        """Whether sources have text."""
        return self.features is None or self.features.lines.has_text

    def is_blank(self, key: int) -> bool:
        """Whether a source has nothing to read: no tokens, or no features of a model of images."""
        if self.features is not None:
            return self.features.is_missing(key)
        return len(self.sources[key]) == 0

    def padded(self, key: int) -> Padded:
        """The padded lengths of a source."""
        text = bucket(len(self.sources[key]) + 1) if self.has_text else 0
        if self.features is None:
            return (text,)
        counts = self.features.regions(key)
        uniform = self.features.lines.uniform
        return (
            text,
            *(bucket(r) if u is None else u for r, u in zip(counts, uniform, strict=True)),
        )

    def encodable(self, keys: Sequence[int], padded: Padded, count: int) -> Encodable:
        """`count` sources: those of `keys`, of the same padded lengths, followed by dummies."""
        source_ES = np.full((count, padded[0]), PAD, dtype=np.int64)
        length_E = np.zeros(count, dtype=np.int64)
        if self.has_text:
            length_E[:] = 1
            source_ES[len(keys) :, 0] = EOS
            for row, key in enumerate(keys):
                source = self.sources[key]
                source_ES[row, : len(source)] = source
                source_ES[row, len(source)] = EOS
                length_E[row] = len(source) + 1
        features: tuple[Regions, ...] = ()
        if self.features is not None:
            dummies = [keys[0]] * (count - len(keys))
            features = self.features.gather([*keys, *dummies], padded[1:])
        return Encodable(torch.from_numpy(source_ES), torch.from_numpy(length_E), features)

    def positions(self, key: int, padded: Padded) -> Positions:
        """The positions of a source of these padded lengths."""
        words = len(self.sources[key]) + 1 if self.has_text else 0
        lengths = (words, *(() if self.features is None else self.features.regions(key)))
        starts = np.cumsum([0, *padded[:-1]])
        parts = [start + np.arange(n) for start, n in zip(starts, lengths, strict=True)]
        everywhere = np.concatenate(parts)
        covered = np.ones(len(everywhere), dtype=bool)
        if words:
            covered[words - 1] = False
        return Positions(everywhere, covered)
