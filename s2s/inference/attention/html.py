"""Heat maps as one self-contained HTML page: no script, no font, no request.

The browser shapes and orders the letters of every script, so this is the format for right-to-left
and East Asian text.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape

from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.regions import Grid, text_part
from s2s.inference.attention.regions_html import STYLE as REGIONS_STYLE
from s2s.inference.attention.regions_html import sheets
from s2s.inference.attention.visible_tokens import visible, visible_line

LARGE = 24
"""Cells of a map with more tokens on a side are small and show no numbers."""

LEAST = 0.0005
"""Weights below show as 0.000 and get neither a colour nor a tooltip of their own. Most weights are
so small, and the page is much smaller without."""

PAGE_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --text: #1b1b1f; --faint: #6b6b76; --line: #e3e3ea;
  --hue: 31, 84, 190; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --paper: #16161b; --text: #e9e9f0; --faint: #9a9aa8;
  --line: #2d2d36; --hue: 126, 178, 255; --on: #0c0c12; } }
body { margin: 2rem 0; padding: 0 1.5rem 4rem; background: var(--paper);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; color: var(--faint); margin: 2.5rem 0 0; }
"""

MAP_STYLE = """
p { margin: .2rem 0; max-width: 80rem; overflow-wrap: anywhere; } .note { color: var(--faint); }
div { overflow-x: auto; margin-top: .8rem; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.2; }
th { font-weight: normal; white-space: nowrap; }
thead th { writing-mode: vertical-rl; text-align: end; vertical-align: bottom;
  padding: .2rem 0 .4rem; }
tbody th { text-align: end; padding: 0 .5rem 0 0; position: sticky; left: 0;
  background: var(--paper); }
td { min-width: 2rem; height: 2rem; padding: 0; border: 1px solid var(--line); text-align: center;
  font-size: .75rem; font-variant-numeric: tabular-nums;
  background: rgba(var(--hue), var(--w, 0)); }
td.d { color: var(--on); }
.large td { min-width: 1.2rem; height: 1.2rem; font-size: 0; }
.large { font-size: .8rem; }
tr:hover th { text-decoration: underline; } td:hover { outline: 2px solid var(--text); }
td[data-t]:hover::after { content: attr(data-t); }
td:hover::after { content: "0.000"; position: fixed; left: 50%; bottom: 1rem;
  transform: translateX(-50%); padding: .4rem .9rem; border-radius: .4rem; white-space: nowrap;
  background: var(--text); color: var(--paper); font-size: 1rem; unicode-bidi: isolate; }
"""

FRAGMENT = "s2s-attention"
"""The class of a map within a page of others; rules for it are as specific as a notebook's own."""

FRAGMENT_STYLE = f"""
.{FRAGMENT} {{ --paper: var(--jp-layout-color0, var(--vscode-editor-background, Canvas));
  --text: var(--jp-content-font-color1, var(--vscode-editor-foreground, CanvasText));
  --faint: var(--text); --line: rgba(128, 128, 128, .35); --hue: 45, 100, 205; --on: #fff;
  color: var(--text); background: var(--paper); }}
"""
"""The colours of a notebook in JupyterLab or VS Code, elsewhere those of the browser."""

NOTEBOOK_STYLE = """
table { table-layout: auto; margin: 0; border: none; } thead { border: none; }
tr, tbody tr:nth-child(odd), tbody tr:hover { background: none; }
th { padding: .1rem .3rem; } tbody th { text-align: end; } tbody td { max-width: none; }
"""
"""Undoes what notebooks do to tables."""


def page(
    maps: Iterable[AttentionMap],
    title: str,
    grid: Grid | None = None,
    images: Callable[[str], tuple[str, float] | None] | None = None,
) -> Iterator[str]:
    """The parts of the page, one per map.

    `grid` is that of regions, a square one if None. `images` returns the data URI of an id's image
    and its ratio of width to height, or None. Raises UsageError for regions that make no grid.
    """
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(visible_line(title))}</title>\n<style>{PAGE_STYLE}{MAP_STYLE}{REGIONS_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(visible_line(title))}</h1>\n"
        '<p class="note">Rows are the output, columns the source. A row shows the weights its '
        "token was predicted with, in per cent; they sum to 100. Point at a cell for the exact "
        "weight. On an image, what is bright or coloured was looked at, as a share of the word's "
        "largest weight there, which is given below it.</p>\n"
    )
    for number, attention in enumerate(maps, start=1):
        found: dict[str, tuple[str, float]] = {}
        for picture in attention.pictures if images is not None else ():
            image = images(picture.id) if images is not None else None
            if image is not None:
                found[picture.id] = image
        yield _section(attention, number, sheets(attention, grid, found))
    yield "</body>\n</html>\n"


def fragment(attention: AttentionMap, grid: Grid | None = None) -> str:
    """One map as a part of another page, such as a notebook; its styles apply to nothing else.

    Raises UsageError for regions that make no grid.
    """
    rules = _scoped(NOTEBOOK_STYLE + MAP_STYLE + REGIONS_STYLE, f".{FRAGMENT}.{FRAGMENT}")
    content = _content(attention, sheets(attention, grid, {}))
    return f'<div class="{FRAGMENT}">\n<style>{FRAGMENT_STYLE}{rules}</style>\n{content}</div>\n'


def _scoped(rules: str, scope: str) -> str:
    """CSS rules that apply within a scope; they contain neither at-rules nor comments."""

    def scoped(rule: re.Match[str]) -> str:
        selectors = (f"{scope} {selector.strip()}" for selector in rule[1].split(","))
        return f"{', '.join(selectors)} {{{rule[2]}}}\n"

    return "\n" + re.sub(r"\s*([^{}]+)\{([^{}]*)\}\s*", scoped, rules)


def _section(attention: AttentionMap, number: int, regions: str) -> str:
    """One line with its number."""
    content = _content(attention, regions)
    return f'<section id="line-{number}">\n<h2>{number}</h2>\n{content}</section>\n'


def _content(attention: AttentionMap, regions: str) -> str:
    """Source, translation, the table and the attention on images."""
    texts = "".join(
        f'<p dir="auto" lang="">{escape(visible_line(text))}</p>\n'
        for text in (attention.source_text, attention.target_text)
    )
    text = text_part(attention)
    table = _table(text) if text.source else ""
    if not attention.source:
        table = '<p class="note">(an empty line)</p>\n'
    elif not table and not regions:
        table = '<p class="note">(one region an image: nothing to look at but the whole)</p>\n'
    return f"{texts}{table}{regions}"


def _table(attention: AttentionMap) -> str:
    source = [escape(visible(token)) for token in attention.source]
    target = [escape(visible(token)) for token in attention.target]
    head = "".join(f'<th scope="col"><bdi>{token}</bdi></th>' for token in source)
    rows = "".join(
        f'<tr><th scope="row"><bdi>{token}</bdi></th>{_cells(token, source, weights)}</tr>\n'
        for token, weights in zip(target, attention.weights.tolist(), strict=True)
    )
    size = ' class="large"' if max(len(source), len(target)) > LARGE else ""
    return (
        f'<div><table lang=""{size}>\n<thead><tr><th></th>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _cells(token: str, source: list[str], weights: list[float]) -> str:
    """A row of cells; tokens are escaped already."""
    return "".join(
        _cell(f"{weight:.3f}: \u2068{token}\u2069 ← \u2068{column}\u2069", weight)
        for column, weight in zip(source, weights, strict=True)
    )


def _cell(tip: str, weight: float) -> str:
    if weight < LEAST:
        return "<td></td>"
    dark = ' class="d"' if weight > 0.5 else ""
    percent = f"{100 * weight:.0f}" if weight >= 0.005 else ""
    return f'<td{dark} style="--w:{weight:.3f}" data-t="{tip}">{percent}</td>'
