"""Heat maps in a terminal: a row per predicted token, a column per source token.

A panel has as many columns as fit; the others follow in panels below. A panel leaves out rows
whose weights in it are all small, so that 80 by 80 tokens can be read along their diagonal.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from s2s.inference.attention.colours import colour, ink
from s2s.inference.attention.maps import AttentionMap, Weights
from s2s.inference.attention.visible_tokens import clusters, visible

SHADES = ((0.05, "·"), (0.25, "░"), (0.5, "▒"), (0.75, "▓"), (float("inf"), "█"))
"""The shade of a weight below each bound, in a terminal without colours."""

LONGEST_LABEL = 32
"""The most cells of a label; a longer one ends in an ellipsis."""

LEVEL_WIDTH = 14
"""The widest column with a horizontal label; wider labels are written letter below letter."""

NUMBER_WIDTH = 5
"""The least width of a column with percentages: a shade, three digits, a gap."""


@dataclass(frozen=True)
class _Layout:
    """The sizes of a map that fits a width."""

    label: int
    """Cells of the row labels."""
    column: int
    """Cells of a column."""
    per_panel: int
    """Columns of a panel."""
    is_level: bool
    """Whether source labels are horizontal."""


def render(attention: AttentionMap, width: int, *, coloured: bool) -> Text:
    """The heat map in lines of at most `width` cells, if a label and a column fit into them.

    `coloured` gives cells a background, which needs 256 colours; otherwise they are shaded
    characters.
    """
    source = [cut_label(visible(token), LONGEST_LABEL) for token in attention.source]
    longest = min(LONGEST_LABEL, width // 2)
    target = [cut_label(visible(token), longest) for token in attention.target]
    layout = _layout(source, target, width)
    panels = []
    for first in range(0, len(source), layout.per_panel):
        columns = slice(first, first + layout.per_panel)
        panel = _header(source[columns], layout)
        for row in _rows(attention.weights, columns):
            cells = _cells(attention.weights[row, columns], layout, coloured)
            panel.append(Text.assemble(_right(target[row], layout.label), " ", *cells))
        panels.append(Text("\n").join(panel))
    return Text("\n\n").join(panels)


def legend(*, coloured: bool) -> Text:
    """The meaning of the shades."""
    if coloured:
        steps = (0.0, 0.25, 0.5, 0.75, 1.0)
        scale = Text(" ").join(Text(f" {step:4.0%} ", style_of(step)) for step in steps)
    else:
        bounds = [f"{shade} below {bound:.0%}" for bound, shade in SHADES[:-1]]
        scale = Text(", ".join([*bounds, f"{SHADES[-1][1]} above"]))
    return Text.assemble("rows: output, columns: source; a row sums to 100 %; ", scale)


def cut_label(label: str, longest: int) -> str:
    """A label of at most so many cells."""
    if cell_len(label) <= longest:
        return label
    kept, size = "", 0
    for cluster in clusters(label):
        if (size := size + cell_len(cluster)) >= longest:
            break
        kept += cluster
    return f"{kept}…"


def _layout(source: list[str], target: list[str], width: int) -> _Layout:
    """The widest columns with which all source tokens fit into one panel, else equal panels.

    Columns of several panels are two cells wide.
    """
    label = max(map(cell_len, target), default=0)
    room = max(width - label - 1, 2)
    count = max(len(source), 1)
    level = max(max(map(cell_len, source), default=0) + 1, NUMBER_WIDTH)
    if level <= LEVEL_WIDTH and count * level <= room:
        return _Layout(label, level, count, is_level=True)
    for column in (NUMBER_WIDTH, 4, 3, 2):
        if count * column <= room:
            return _Layout(label, column, count, is_level=False)
    panels = ceil(count / (room // 2))
    return _Layout(label, 2, ceil(count / panels), is_level=False)


def _rows(weights: Weights, columns: slice) -> list[int]:
    """The rows that a panel shows: their weights in it reach the lowest bound or their maximum."""
    shown = weights[:, columns].max(axis=1) >= np.minimum(SHADES[0][0], weights.max(axis=1))
    return [int(row) for row in np.flatnonzero(shown)]


def _right(label: str, width: int) -> str:
    return " " * (width - cell_len(label)) + label


def _header(labels: list[str], layout: _Layout) -> list[Text]:
    """The source labels above the columns."""
    margin = " " * (layout.label + 1)
    if layout.is_level:
        return [Text(margin + "".join(_centred(label, layout.column) for label in labels))]
    stacks = [clusters(label) for label in labels]
    height = max(map(len, stacks))
    rows = []
    for row in range(height):
        at = [row - (height - len(stack)) for stack in stacks]
        letters = [stack[i] if i >= 0 else "" for stack, i in zip(stacks, at, strict=True)]
        line = "".join(_centred(letter, layout.column) for letter in letters)
        rows.append(Text(margin + line))
    return rows


def _centred(label: str, width: int) -> str:
    space = width - cell_len(label)
    return " " * (space // 2) + label + " " * (space - space // 2)


def _cells(weights: Weights, layout: _Layout, coloured: bool) -> list[Text]:
    return [_cell(float(weight), layout.column, coloured) for weight in weights]


def _cell(weight: float, width: int, coloured: bool) -> Text:
    """One weight, as a number if it fits and does not round to 0 %."""
    percent = f"{100 * weight:.0f}" if weight >= 0.005 else ""
    has_number = width >= NUMBER_WIDTH
    if coloured:
        return Text(_centred(f"{percent:>3}" if has_number else "", width), style_of(weight))
    shade = shade_of(weight)
    if has_number:
        return Text(_centred(f"{shade}{percent:>3}", width))
    return Text(shade * min(width, 3) if shade != "·" else _centred(shade, width))


def shade_of(weight: float) -> str:
    """The character of a weight between 0 and 1."""
    return next(shade for bound, shade in SHADES if weight < bound)


def style_of(weight: float) -> Style:
    """The colours of a weight between 0 and 1."""
    background = colour(weight)
    red, green, blue = ink(background)
    return Style.parse(f"rgb({red},{green},{blue}) on rgb({','.join(map(str, background))})")
