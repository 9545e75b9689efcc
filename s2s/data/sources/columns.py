"""Which columns of a table make a pair, and how a line of source is made of them.

A source line is text, the tags and features of words behind it, and the ids of the features that
`data.image_features` names, tabs between; without source text it is the ids alone. So it stays one
line, whatever is known of it, from preparation to `s2s translate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s2s.data.sources.chunks import Chunk, clean
from s2s.data.sources.fingerprint import identity_of
from s2s.recipe.data import Columns
from s2s.recipe.image_features import ImageFeatureFile
from s2s.text.source_features import with_features


def id_columns(files: Sequence[ImageFeatureFile]) -> tuple[str, ...]:
    """The columns that hold ids, each once, in the order a line has them."""
    return tuple(dict.fromkeys(file.column for file in files))


@dataclass(frozen=True)
class Layout:
    """Columns of a split."""

    columns: Columns
    ids: tuple[str, ...] = ()
    """Columns of ids."""
    is_train: bool = False
    """Whether each of several targets makes a pair of its own; if not, all are references."""
    references: tuple[str, ...] = ()
    """Columns with a reference each."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns of text that a source line is made of, before its ids."""
        named = (self.columns.source, self.columns.source_features)
        return tuple(name for name in named if name is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of interest, each once."""
        last = (self.columns.target, self.columns.references)
        held = (*self.references, *last)
        named = (*self.parts, *self.ids, *(name for name in held if name is not None))
        return tuple(dict.fromkeys(named))

    def identity(self) -> dict[str, Any]:
        """What pairs depend on, as JSON."""
        return {
            "columns": identity_of(self.columns),
            **({"ids": list(self.ids)} if self.ids else {}),
            **({"references": self.references} if self.references else {}),
        }

    def chunk(
        self,
        parts: Sequence[list[str]],
        targets: Sequence[str | list[str]],
        references: Sequence[list[str]] | None = None,
    ) -> Chunk:
        """Pairs of columns: `parts` are those of `self.parts` and of the ids, `references` lists
        of all references."""
        source, *others = parts
        for other in others:
            source = with_features(source, other)
        if not any(isinstance(target, list) for target in targets):
            chunk = clean(source, [target for target in targets if isinstance(target, str)])
        else:
            lists = [target if isinstance(target, list) else [target] for target in targets]
            if self.is_train:
                pairs = [(s, t) for s, each in zip(source, lists, strict=True) for t in each]
                return clean([s for s, _ in pairs], [t for _, t in pairs])
            chunk = clean(source, [each[0] for each in lists])
            references = lists if references is None else references
        return chunk if references is None else chunk.with_references(list(references))
