"""Sizes of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s2s.recipe.yaml import Keys
from s2s.tasks.defaults.choice import at


@dataclass(frozen=True)
class Size:
    """Widths of a model."""

    name: str
    embeddings: int
    encoder: int
    decoder: int
    learning_rate: float

    @property
    def values(self) -> Mapping[Keys, Any]:
        """The values in a recipe."""
        return {
            at("model.embeddings"): self.embeddings,
            at("model.encoder.width"): self.encoder,
            at("model.decoder.width"): self.decoder,
        }


TINY = Size("tiny", 64, 64, 128, 3e-3)
SMALL = Size("small", 128, 128, 256, 2e-3)
MEDIUM = Size("medium", 192, 192, 384, 1.5e-3)
LARGE = Size("large", 256, 256, 512, 1e-3)
SIZES = (TINY, SMALL, MEDIUM, LARGE)
"""All sizes, ascending."""
