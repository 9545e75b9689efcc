"""The attention of one line, as a notebook and a terminal show it."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from s2s.errors import UsageError
from s2s.files import atomic_write
from s2s.inference.attention.alignment import align_words
from s2s.inference.attention.html import fragment, page
from s2s.inference.attention.maps import AttentionMap, Weights
from s2s.inference.attention.npz import write_npz
from s2s.inference.attention.regions import Grid, text_part
from s2s.inference.attention.terminal import render
from s2s.inference.attention.visible_tokens import visible_line

WIDTH = 100
"""Cells of a line of text."""


@dataclass(frozen=True, eq=False, repr=False)
class Attention:
    """One line, its translation and the attention weights between their tokens.

    A notebook shows it as a table, a terminal as text.
    """

    map: AttentionMap
    """Tokens, weights, words and images."""
    grid: Grid | None = None
    """Rows and columns of image regions; None for a square."""

    @property
    def source(self) -> str:
        """The line."""
        return self.map.source_text

    @property
    def translation(self) -> str:
        """Its translation."""
        return self.map.target_text

    @property
    def source_tokens(self) -> tuple[str, ...]:
        """The columns: source tokens with `</s>`, then image regions."""
        return self.map.source

    @property
    def target_tokens(self) -> tuple[str, ...]:
        """The rows: tokens of the translation, with `</s>` if the model predicted it."""
        return self.map.target

    @property
    def weights(self) -> Weights:
        """float32 [rows, columns]: the weights that each target token was predicted with."""
        return self.map.weights

    def alignment(self) -> list[tuple[int, int]]:
        """Links (source word, target word), from 0: each target word with the source word of most
        weight."""
        return align_words(self.weights, self.map.source_word_ids, self.map.target_word_ids)

    def save(self, path: str | Path) -> None:
        """Write an HTML page, a PNG or a numpy archive, by the ending of the file's name.

        Raises UsageError for another ending, for a PNG without Pillow, and where there is nothing
        to draw.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".html":
                atomic_write(path, "".join(page([self.map], "Attention", self.grid)))
            case ".npz":
                write_npz(path, [self.map])
            case ".png":
                atomic_write(path, self._png(path))
            case _:
                raise UsageError(f"{path}: expected a name that ends in .html, .png or .npz")

    def _png(self, path: Path) -> bytes:
        if find_spec("PIL") is None:
            raise UsageError(f"{path}: needs Pillow: pip install pillow; .html needs nothing")
        from s2s.inference.attention.png import MAX_TOKENS
        from s2s.inference.attention.regions_png import regions_png

        size = max(text_part(self.map).weights.shape)
        if size > MAX_TOKENS:
            what = f"{size:,} tokens are too many for a picture ({MAX_TOKENS} at most)"
            raise UsageError(f"{path}: {what}; .html has no limit")
        drawn = regions_png(self.map, self.grid) if self.map.source else None
        if drawn is None:
            raise UsageError(f"{path}: nothing to draw, as the line has no tokens")
        return drawn

    def _repr_html_(self) -> str:
        """The table that a notebook shows. Raises UsageError for regions that make no grid."""
        return fragment(self.map, self.grid)

    def __repr__(self) -> str:
        """Line, translation and heat map, as text."""
        texts = f"{visible_line(self.source)} → {visible_line(self.translation)}"
        text = text_part(self.map)
        if not text.source or not text.target:
            return texts
        return f"{texts}\n\n{render(text, WIDTH, coloured=False).plain}"
