"""Attention over the regions of an image, as a grid of weights.

Dimension letters: T predictions, S columns of a map, R rows and C columns of a grid.
"""

from dataclasses import replace
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2s.errors import UsageError
from s2s.inference.attention.maps import AttentionMap, Picture

Heat = NDArray[np.float32]


class Grid(NamedTuple):
    """The grid of an image's regions, row by row from the top left."""

    rows: int
    columns: int


class RegionMap(NamedTuple):
    """The attention of every prediction to one image."""

    picture: Picture
    grid: Grid
    heat_TRC: Heat
    """The weights of each prediction, divided by its largest one on this image."""
    largest_T: Heat
    """That largest weight, as a share of the whole source."""


def parse_grid(text: str) -> Grid:
    """`7x7` as rows and columns; raises UsageError."""
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise UsageError(f"--grid: expected ROWSxCOLUMNS such as 7x7, found {text}")
    return Grid(int(rows), int(columns))


def grid_of(picture: Picture, chosen: Grid | None) -> Grid | None:
    """The grid of an image's regions: `chosen`, by default a square; None for a vector.

    Raises UsageError for a number of regions that does not fit.
    """
    if picture.count == 1:
        return None
    if chosen is None:
        side = isqrt(picture.count)
        if side * side != picture.count:
            raise UsageError(
                f"the {picture.count} regions of '{picture.id}' make no square; "
                "--grid ROWSxCOLUMNS says how they lie"
            )
        return Grid(side, side)
    if chosen.rows * chosen.columns != picture.count:
        raise UsageError(
            f"--grid {chosen.rows}x{chosen.columns}: expected the {picture.count} regions of "
            f"'{picture.id}', found {chosen.rows * chosen.columns}"
        )
    return chosen


def region_maps(attention: AttentionMap, chosen: Grid | None = None) -> list[RegionMap]:
    """A map for each image of a line that has more than one region.

    Raises UsageError as `grid_of` does.
    """
    found = []
    for picture in attention.pictures:
        grid = grid_of(picture, chosen)
        if grid is not None:
            weights_TS = attention.weights[:, picture.columns]
            largest_T = weights_TS.max(axis=1)
            heat_TS = weights_TS / np.maximum(largest_T, np.finfo(np.float32).tiny)[:, None]
            found.append(RegionMap(picture, grid, heat_TS.reshape(-1, *grid), largest_T))
    return found


def text_part(attention: AttentionMap) -> AttentionMap:
    """The map without its images; its rows sum to their weight on the text."""
    if not attention.pictures:
        return attention
    end = attention.pictures[0].first
    return replace(
        attention,
        source=attention.source[:end],
        weights=attention.weights[:, :end],
        source_word_ids=attention.source_word_ids[:end],
        pictures=(),
    )
