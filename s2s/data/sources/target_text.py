"""A split whose targets are rewritten before anything else sees them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from s2s.data.sources.chunks import Chunk
from s2s.data.sources.split import Split
from s2s.recipe.filters import TargetText
from s2s.text.normalize import plain


@dataclass(frozen=True)
class TreatedSplit:
    """Another split, its targets and references as `how` says."""

    split: Split
    how: TargetText

    def identity(self) -> dict[str, Any]:
        """What is rewritten, and how."""
        return {"rewritten": self.split.identity(), "how": asdict(self.how)}

    def chunks(self) -> Iterator[Chunk]:
        """Raises DataError where the split does."""
        for chunk in self.split.chunks():
            target = [plain(text, self.how) for text in chunk.target]
            references = chunk.references and [
                [plain(text, self.how) for text in texts] for texts in chunk.references
            ]
            yield chunk._replace(target=target, references=references)
