"""Attention on an image, token by token, in a terminal."""

from rich.cells import cell_len
from rich.text import Text

from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.regions import Grid, RegionMap, region_maps
from s2s.inference.attention.terminal import cut_label, shade_of, style_of
from s2s.inference.attention.visible_tokens import visible

CELL = 2
"""Characters of a region, which then is about a square."""

GAP = 2

LEAST_WIDTH = 9
"""The least width of a tile, which fits a word."""


def render_regions(
    attention: AttentionMap, width: int, grid: Grid | None = None, *, coloured: bool
) -> Text:
    """A grid for each predicted token, as many side by side as fit.

    Above it are the token and its largest weight; shades are shares of that weight. Raises
    UsageError as `region_maps` does.
    """
    sheets = [
        _sheet(found, attention.target, width, coloured) for found in region_maps(attention, grid)
    ]
    return Text("\n\n").join(sheets)


def _sheet(found: RegionMap, target: tuple[str, ...], width: int, coloured: bool) -> Text:
    tile_width = max(CELL * found.grid.columns, LEAST_WIDTH)
    across = max(1, (width + GAP) // (tile_width + GAP))
    tiles = [
        _tile(token, float(largest), heat.tolist(), tile_width, coloured)
        for token, largest, heat in zip(target, found.largest_T, found.heat_TRC, strict=True)
    ]
    bands = [tiles[first : first + across] for first in range(0, len(tiles), across)]
    gap = Text(" " * GAP)
    return Text("\n\n").join(
        Text("\n").join(gap.join(lines) for lines in zip(*band, strict=True)) for band in bands
    )


def _tile(
    token: str, largest: float, heat: list[list[float]], width: int, coloured: bool
) -> list[Text]:
    """The lines of one tile: the token, then its grid."""
    number = f" {largest:.0%}"
    label = cut_label(visible(token), width - len(number)) + number
    lines = [Text(label + " " * (width - cell_len(label)))]
    for row in heat:
        cells = [
            Text(" " * CELL, style_of(share)) if coloured else Text(shade_of(share) * CELL)
            for share in row
        ]
        line = Text.assemble(*cells)
        line.append(" " * (width - line.cell_len))
        lines.append(line)
    return lines
