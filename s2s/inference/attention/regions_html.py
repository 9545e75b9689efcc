"""Attention on an image, token by token, as a part of a page without scripts."""

from html import escape

from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.regions import Grid, RegionMap, region_maps
from s2s.inference.attention.visible_tokens import visible

LEAST = 0.005
"""Smaller shares of the largest weight are not drawn."""

STYLE = """
.sheet { display: flex; flex-wrap: wrap; gap: .8rem; overflow: visible; }
figure { margin: 0; text-align: center; outline: none; }
figcaption { font-size: .9rem; max-width: 9rem; overflow-wrap: anywhere; }
figcaption small { color: var(--faint); display: block; }
.grid { display: grid; grid-template-columns: repeat(var(--c), 1fr); width: 9rem; margin: 0;
  aspect-ratio: var(--a); background: var(--image, none) center / 100% 100%;
  border: 1px solid var(--line); transition: transform .15s; overflow: hidden; }
.grid i { background: rgba(var(--hue), var(--w, 0)); }
.lit .grid i { background: rgba(0, 0, 0, calc(.8 * (1 - var(--w, 0)))); }
figure:hover .grid, figure:focus .grid { transform: scale(2); position: relative; z-index: 1; }
"""


def sheets(attention: AttentionMap, grid: Grid | None, images: dict[str, tuple[str, float]]) -> str:
    """A figure for each predicted token and image; pointing at one, or focus on it, enlarges it.

    `images` has the data URI and the ratio of width to height of the images that were found.
    Raises UsageError for regions that make no grid.
    """
    return "".join(
        _sheet(found, attention.target, images.get(found.picture.id))
        for found in region_maps(attention, grid)
    )


def _sheet(found: RegionMap, target: tuple[str, ...], image: tuple[str, float] | None) -> str:
    rows, columns = found.grid
    ratio = columns / rows if image is None else image[1]
    style = f"--c:{columns};--a:{ratio:.3f}"
    if image is not None:
        style += f";--image:url({image[0]})"
    lit = "" if image is None else " lit"
    figures = "".join(
        _figure(token, heat_RC.ravel().tolist(), float(largest), columns)
        for token, heat_RC, largest in zip(target, found.heat_TRC, found.largest_T, strict=True)
    )
    return f'<div class="sheet{lit}" style="{style}" lang="">\n{figures}</div>\n'


def _figure(token: str, heat: list[float], largest: float, columns: int) -> str:
    word = escape(visible(token))
    place = max(range(len(heat)), key=heat.__getitem__)
    description = f"{largest:.0%} in row {place // columns + 1}, column {place % columns + 1}"
    cells = "".join(
        "<i></i>" if share < LEAST else f'<i style="--w:{share:.2f}"></i>' for share in heat
    )
    return (
        f'<figure tabindex="0"><div class="grid" role="img" aria-label="{description}">'
        f"{cells}</div>"
        f"<figcaption><bdi>{word}</bdi><small>{largest:.0%}</small></figcaption></figure>\n"
    )
