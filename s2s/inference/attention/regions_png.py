"""Attention on an image, token by token, as a picture. Needs Pillow.

As in Xu et al. (2015), figures 2 and 3: one small picture for each token, bright where the
attention is.

Dimension letters: R rows and C columns of a grid, Y and X pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2s.inference.attention.colours import colour
from s2s.inference.attention.fonts import load_fonts
from s2s.inference.attention.images import ImageFolder
from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.png import GAP, MARGIN, PAPER, TEXT, draw_map, png
from s2s.inference.attention.regions import Grid, Heat, RegionMap, region_maps, text_part
from s2s.inference.attention.visible_tokens import visible

TILE = 150
"""Pixels of a tile's longer side."""

ACROSS = 6
"""The most tiles side by side."""

DARK = 0.2
"""Brightness of an image without attention, as a share of its own."""

FONT, SMALL = 17, 13

_RAMP = np.array([colour(step / 255) for step in range(256)], dtype=np.uint8)


def tile(heat_RC: Heat, image: Image.Image | None) -> Image.Image:
    """The attention of one token: the image, bright where the attention is; colours without image.

    Brightness is interpolated linearly between the centres of cells. `heat` is at most 1.
    """
    width, height = _size(heat_RC.shape, image)
    smooth = Image.fromarray(heat_RC.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    heat_YX: NDArray[np.float32] = np.asarray(smooth).clip(0.0, 1.0)
    if image is None:
        return Image.fromarray(_RAMP[(heat_YX * 255).round().astype(np.intp)])
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    lit = pixels * (DARK + (1.0 - DARK) * heat_YX[..., None])
    return Image.fromarray(lit.round().astype(np.uint8))


def _size(shape: tuple[int, ...], image: Image.Image | None) -> tuple[int, int]:
    """Width and height of a tile."""
    width, height = (shape[1], shape[0]) if image is None else image.size
    scale = TILE / max(width, height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def sheet(
    found: RegionMap, target: Sequence[str], image: Image.Image | None, fonts: tuple[Path, ...] = ()
) -> Image.Image:
    """A tile for each predicted token, with the token and its largest weight below.

    The image comes first.
    """
    words, numbers = load_fonts(FONT, fonts), load_fonts(SMALL, fonts)
    tiles: list[Image.Image] = []
    labels: list[tuple[Image.Image, Image.Image | None]] = []
    if image is not None:
        tiles.append(image.resize(_size((), image), Image.Resampling.BICUBIC))
        labels.append((words.level(visible(found.picture.id)), None))
    for token, heat_RC, largest in zip(target, found.heat_TRC, found.largest_T, strict=True):
        tiles.append(tile(heat_RC, image))
        labels.append((words.level(visible(token)), numbers.level(f"{100 * largest:.0f} %")))
    column = max(TILE, *(mask.width for mask, _ in labels)) + 2 * GAP
    line = words.level("x").height + numbers.level("x").height
    height = max(one.height for one in tiles) + line + 3 * GAP
    across = min(ACROSS, len(tiles))
    down = -(-len(tiles) // across)
    picture = Image.new("RGB", (2 * MARGIN + across * column, 2 * MARGIN + down * height), PAPER)
    for place, (one, (word, number)) in enumerate(zip(tiles, labels, strict=True)):
        x = MARGIN + place % across * column
        y = MARGIN + place // across * height
        picture.paste(one, (x + (column - one.width) // 2, y))
        y += one.height + GAP
        picture.paste(TEXT, (x + (column - word.width) // 2, y), word)
        if number is not None:
            picture.paste(TEXT, (x + (column - number.width) // 2, y + word.height), number)
    return picture


def regions_png(
    attention: AttentionMap,
    grid: Grid | None,
    images: ImageFolder | None = None,
    fonts: tuple[Path, ...] = (),
) -> bytes | None:
    """The attention of a line as a PNG: its text as a heat map, then a sheet for each image.

    None if there is nothing to draw: no text, and one region an image. Raises UsageError for
    regions that make no grid, DataError for an id that leads out of the folder of images.
    """
    text = text_part(attention)
    parts = [draw_map(text, fonts)] if text.source else []
    for found in region_maps(attention, grid):
        image = None if images is None else images.open(found.picture.id)
        parts.append(sheet(found, attention.target, image, fonts))
    if not parts:
        return None
    size = (max(part.width for part in parts), sum(part.height for part in parts))
    whole = Image.new("RGB", size, PAPER)
    y = 0
    for part in parts:
        whole.paste(part, (0, y))
        y += part.height
    return png(whole)
