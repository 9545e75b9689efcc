"""A split whose targets are normalized before anything else reads them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from s2s.data.sources.chunks import Chunk
from s2s.data.sources.split import Split
from s2s.recipe.filters import TargetText
from s2s.text.normalize import normalize


@dataclass(frozen=True)
class TargetTextSplit:
    """A split with normalized targets and references."""

    split: Split
    recipe: TargetText

    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the split, and how its targets are normalized."""
        return {"rewritten": self.split.fingerprint(), "how": asdict(self.recipe)}

    def expected(self) -> int | None:
        """As many pairs as the split has."""
        return self.split.expected()

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError as the split does."""
        for chunk in self.split.chunks():
            target = [normalize(text, self.recipe) for text in chunk.target]
            references = chunk.references and [
                [normalize(text, self.recipe) for text in texts] for texts in chunk.references
            ]
            yield chunk._replace(target=target, references=references)
