"""A heat map as a picture. Needs Pillow, of the optional extra `plots`."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from s2s.inference.attention.colours import colour, ink
from s2s.inference.attention.fonts import load_fonts
from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.visible_tokens import visible

MAX_TOKENS = 600
"""The most tokens on a side of a picture: image viewers fail on larger ones."""

MARGIN = 16
GAP = 6
PAPER, TEXT = (255, 255, 255), (27, 27, 31)


@dataclass(frozen=True)
class Scale:
    """Sizes in pixels."""

    cell: int
    font: int
    number: int | None
    """Size of the percentage in a cell; None if there is no room for it."""


def scale_of(attention: AttentionMap) -> Scale:
    """The sizes for a map: the more tokens, the smaller."""
    count = max(attention.weights.shape)
    if count <= 12:
        return Scale(44, 18, 15)
    if count <= 40:
        return Scale(32, 16, 12)
    return Scale(22, 14, None) if count <= 120 else Scale(16, 12, None)


def draw_map(attention: AttentionMap, fonts: tuple[Path, ...] = ()) -> Image.Image:
    """The picture: a row per predicted token, a column per source token.

    Raises DataError for a file that is not a font.
    """
    scale = scale_of(attention)
    label_fonts = load_fonts(scale.font, fonts)
    columns = [label_fonts.upright(visible(token)) for token in attention.source]
    rows = [label_fonts.level(visible(token)) for token in attention.target]
    left = MARGIN + max((mask.width for mask in rows), default=0) + GAP
    top = MARGIN + max((mask.height for mask in columns), default=0) + GAP
    num_rows, num_columns = attention.weights.shape
    size = (left + num_columns * scale.cell + MARGIN, top + num_rows * scale.cell + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    for place, mask in enumerate(columns):
        x = left + place * scale.cell + (scale.cell - mask.width) // 2
        picture.paste(TEXT, (x, top - GAP - mask.height), mask)
    for place, mask in enumerate(rows):
        y = top + place * scale.cell + (scale.cell - mask.height) // 2
        picture.paste(TEXT, (left - GAP - mask.width, y), mask)
    _draw_cells(picture, attention, (left, top), scale)
    return picture


def missing_letters(attention: AttentionMap, fonts: tuple[Path, ...] = ()) -> set[str]:
    """Letters of a drawn map that no font has."""
    letters = {letter for token in (*attention.source, *attention.target) for letter in token}
    return letters & load_fonts(scale_of(attention).font, fonts).missing


def _draw_cells(
    picture: Image.Image, attention: AttentionMap, corner: tuple[int, int], scale: Scale
) -> None:
    draw = ImageDraw.Draw(picture)
    numbers = load_fonts(scale.number) if scale.number else None
    for row, weights in enumerate(attention.weights.tolist()):
        for column, weight in enumerate(weights):
            x, y = corner[0] + column * scale.cell, corner[1] + row * scale.cell
            background = colour(weight)
            # A pixel is left between the cells.
            draw.rectangle((x, y, x + scale.cell - 2, y + scale.cell - 2), fill=background)
            if numbers and weight >= 0.005:
                _write(picture, numbers.level(f"{100 * weight:.0f}"), (x, y, scale.cell), weight)


def _write(
    picture: Image.Image, mask: Image.Image, place: tuple[int, int, int], weight: float
) -> None:
    """Draw a number in the middle of the cell at `place`: (x, y, size)."""
    x, y, cell = place
    position = (x + (cell - 1 - mask.width) // 2, y + (cell - 1 - mask.height) // 2)
    picture.paste(ink(colour(weight)), position, mask)


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
