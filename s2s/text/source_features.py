"""Source features: `lemma<TAB>V;PST;3;SG`, two texts with a tokenizer each."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from s2s.special import SPECIAL_PIECES, UNK

if TYPE_CHECKING:
    from s2s.text.tokenizer import Tokenizer

SEPARATOR = "\t"
"""The separator of source and features; the last one of a line counts."""

SHOWN_SEPARATOR = "⇥"

FEATURES_FOLDER = "features"

Item = TypeVar("Item")


def with_features(sources: Sequence[str], features: Sequence[str]) -> list[str]:
    """Source lines as `SourceFeatureTokenizer` reads them."""
    return [
        source + SEPARATOR + text.replace(SEPARATOR, " ")
        for source, text in zip(sources, features, strict=True)
    ]


class SourceFeatureTokenizer:
    """Encodes the text before the last tab of a line with one tokenizer, the rest with another.

    The ids of features follow those of the source's vocabulary, and the id of the tab is the last.
    So a feature never shares its id with a token of the source. A line without a tab is a source
    without features. The model reads the source, separator, features; with `is_before` features,
    separator, source.
    """

    def __init__(
        self, base: "Tokenizer", features: "Tokenizer", *, is_before: bool = False
    ) -> None:
        self.base = base
        self.features = features
        self.is_before = is_before
        self._shift = base.size - len(SPECIAL_PIECES)
        self._separator = features.size + self._shift

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceFeatureTokenizer) and (
            (self.base, self.features, self.is_before)
            == (other.base, other.features, other.is_before)
        )

    @property
    def size(self) -> int:
        """Number of ids, the special ones and the separator's included."""
        return self._separator + 1

    def normalize(self, line: str) -> str:
        """The line as encoding and decoding return it if no token is unknown."""
        if SEPARATOR not in line:
            return self.base.normalize(line)
        source, _, features = line.rpartition(SEPARATOR)
        return self.base.normalize(source) + SEPARATOR + self.features.normalize(features)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line: of the source, the separator, the features, or the reverse."""
        split = [line.rpartition(SEPARATOR) if SEPARATOR in line else (line,) for line in lines]
        found = self.base.encode([parts[0] for parts in split])
        featured = [place for place, parts in enumerate(split) if len(parts) > 1]
        features = self.features.encode([split[place][-1] for place in featured])
        for place, ids in zip(featured, features, strict=True):
            shifted = [UNK if token == UNK else token + self._shift for token in ids]
            found[place] = self._joined(found[place], [self._separator], shifted)
        return found

    def decode(self, ids: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence."""
        texts = []
        for row in ids:
            source, features = self._parts(row)
            text = self.base.decode([source])[0]
            if features is not None:
                text += SEPARATOR + self.features.decode([features])[0]
            texts.append(text)
        return texts

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token; the separator shows as `⇥`."""
        source, features = self._parts(ids)
        shown = self.base.pieces(source)
        if features is None:
            return shown
        return self._joined(shown, [SHOWN_SEPARATOR], self.features.pieces(features))

    def surfaces(self) -> list[str | bytes]:
        """The text that each id adds when it is decoded."""
        features = self.features.surfaces()[len(SPECIAL_PIECES) :]
        return [*self.base.surfaces(), *features, SEPARATOR]

    def spellings(self) -> Sequence[str]:
        """The spelling of each id of the source; features have none."""
        return [*self.base.spellings(), *[""] * (self.size - self.base.size)]

    def unknown(self, lines: Sequence[str]) -> list[list[str]]:
        """The unknown tokens of a source; those of its features are empty."""
        split = [line.rpartition(SEPARATOR) if SEPARATOR in line else (line,) for line in lines]
        own = self.base.unknown([parts[0] for parts in split])
        features = self.features.unknown([parts[-1] if len(parts) > 1 else "" for parts in split])
        empty = ([""] * len(row) for row in features)
        return [self._joined(row, [], more) for row, more in zip(own, empty, strict=True)]

    def spell(self, spellings: Iterable[Sequence[str]]) -> list[str]:
        """The text of sources."""
        return self.base.spell(spellings)

    def save(self, folder: Path) -> None:
        """Write both tokenizers into `folder`, which is made if missing."""
        self.base.save(folder)
        self.features.save(folder / FEATURES_FOLDER)

    def _joined(
        self, source: list[Item], separator: list[Item], features: list[Item]
    ) -> list[Item]:
        """The items of a line in the order of the model."""
        if self.is_before:
            return [*features, *separator, *source]
        return [*source, *separator, *features]

    def _parts(self, ids: Sequence[int]) -> tuple[list[int], list[int] | None]:
        """The ids of the source and of the features, as their tokenizers number them."""
        row = [int(token) for token in ids]
        if self._separator not in row:
            return row, None
        end = row.index(self._separator)
        source, features = row[:end], row[end + 1 :]
        if self.is_before:
            source, features = features, source
        special = len(SPECIAL_PIECES)
        return source, [token if token < special else token - self._shift for token in features]
