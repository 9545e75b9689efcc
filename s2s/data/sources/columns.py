"""The columns of a table that make a pair, and the source line they make.

A source line has the text, then the source features, then the ids of the image features that
`data.image_features` names, with tabs between; without source text it has the ids alone. So a
source is one line, from preparation to `s2s translate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s2s.data.sources.chunks import Chunk, clean
from s2s.data.sources.fingerprint import fingerprint_of
from s2s.recipe.data import Columns
from s2s.recipe.image_features import ImageFeatureFile
from s2s.spaces import split_words
from s2s.text.source_features import with_features


def id_columns(files: Sequence[ImageFeatureFile]) -> tuple[str, ...]:
    """The columns that hold ids, each once, in the order of a line."""
    return tuple(dict.fromkeys(file.column for file in files))


def joined_words(words: Sequence[str]) -> str:
    """Words between spaces, as one line: white space within a word becomes `_`."""
    return " ".join("_".join(split_words(word)) or "_" for word in words)


@dataclass(frozen=True)
class SplitColumns:
    """The columns that are read of a split."""

    recipe: Columns
    ids: tuple[str, ...] = ()
    """Columns of ids."""
    is_train: bool = False
    """Whether each of several targets makes a pair; otherwise all are references."""
    references: tuple[str, ...] = ()
    """Columns of one reference each."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns of the text of a source line, before its ids."""
        named = (self.recipe.source, self.recipe.source_features)
        return tuple(name for name in named if name is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read, each once."""
        last = (self.recipe.target, self.recipe.references)
        held = (*self.references, *last, self.recipe.group)
        named = (*self.parts, *self.ids, *(name for name in held if name is not None))
        return tuple(dict.fromkeys(named))

    def fingerprint(self) -> dict[str, Any]:
        """All that pairs depend on, as JSON."""
        return {
            "columns": fingerprint_of(self.recipe),
            **({"ids": list(self.ids)} if self.ids else {}),
            **({"references": self.references} if self.references else {}),
        }

    def chunk(
        self,
        parts: Sequence[list[str]],
        targets: Sequence[str | list[str]],
        references: Sequence[list[str]] | None = None,
        groups: list[str] | None = None,
    ) -> Chunk:
        """Pairs from columns: `parts` are those of `self.parts` and of the ids, `references` has
        all references of each pair, `groups` its group."""
        if not parts:  # a language model reads no source: its text stands for one
            parts = [[one if isinstance(one, str) else one[0] for one in targets]]
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
        chunk = chunk._replace(groups=groups)
        return chunk if references is None else chunk.with_references(list(references))
