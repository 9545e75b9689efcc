"""`s2s attention`: shows the attention weights of translations."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import (
    RUNS,
    STDOUT,
    BatchSize,
    Checkpoint,
    Device,
    RunNames,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_runs,
    choose_search,
    examples,
    file_or_standard,
    note,
)
from .options.grouped import grouped
from .options.panels import PICTURES
from .options.search import SearchOptions

if TYPE_CHECKING:
    from s2s.inference.attention.maps import AttentionMap
    from s2s.inference.attention.regions import Grid

EPILOG = examples(
    "echo 'Ein Hund schläft.' | s2s attention",
    "s2s attention --input test.de --html attention.html",
    "s2s attention --alignments < test.de > test.align",
    "s2s attention --input test.de --png pictures --npz attention.npz",
    "s2s attention --input ids.txt --png pictures --images photos",
)


@grouped
def attention(
    target_run: RunTarget = None,
    *,
    run: RunNames = None,
    runs: Runs = RUNS,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="Read FILE (also .gz) instead of stdin (or -)."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one HTML page for all lines, in any script (also .gz); - is stdout.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write an image for each line; needs Pillow.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    npz: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write weights and tokens for numpy; - is stdout.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    alignments: Annotated[
        bool,
        typer.Option(
            "--alignments", help="Print word alignments of each line, source-target, from 0."
        ),
    ] = False,
    font: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Font of --png; repeatable, the first is preferred.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Draw on the images, which are found by their ids.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="RxC",
            help="Rows and columns of image regions; by default a square.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    search: SearchOptions,
    batch_size: BatchSize = 256,
    device: Device = "auto",
) -> None:
    """Show the attention weights of translations.

    Lines are read from stdin. A heat map of each is drawn in the terminal, unless there are options
    for files or alignments. Attention is not alignment: a token may attend to other words than
    those it translates. With several --run, the models' probabilities and weights are averaged.
    """
    from s2s.errors import UsageError
    from s2s.inference.attention.files import MapFiles
    from s2s.inference.attention.regions import parse_grid, region_maps

    lie = None if grid is None else parse_grid(grid)
    on_stdout = [name for name, path in (("--html -", html), ("--npz -", npz)) if path == STDOUT]
    if len(on_stdout) + alignments > 1:
        named = [*on_stdout, *(["--alignments"] if alignments else [])]
        raise UsageError(f"{', '.join(named)}: expected one on stdout; give the others a file")
    files = MapFiles(html=html, png=png, npz=npz, fonts=tuple(font or ()), grid=lie, images=images)
    chosen = choose_runs(run, runs, target_run)
    settings = choose_search(chosen[0], search)
    which = choose_checkpoint(checkpoint)
    from s2s.inference.attention.maps import map_stream
    from s2s.inference.load import load_ensemble

    translator = load_ensemble(chosen, search=settings, device=device, checkpoint=which)
    kept = []
    drawer = None if alignments or not files.is_empty else _Drawer(lie)
    with _opened(source) as lines:
        is_typed = file_or_standard(source) is None and sys.stdin.isatty()
        window = 1 if is_typed else batch_size
        for found in map_stream(translator, lines, window):
            region_maps(found, lie)  # reports a grid that does not fit before drawing
            if alignments:
                typer.echo(found.alignments())
            if drawer is not None:
                drawer.draw(found)
            if not files.is_empty:
                kept.append(found)
    names = " + ".join(one.name for one in chosen)
    files.write(kept, f"Attention of {names}", note)


class _Drawer:
    """Draws maps on stdout, with the width of the terminal."""

    def __init__(self, grid: "Grid | None") -> None:
        from rich.console import Console

        self.console = Console(highlight=False)
        has_colours = self.console.color_system in ("256", "truecolor")
        self.is_coloured = has_colours and not self.console.no_color
        self.grid = grid
        self.number = 0

    def draw(self, found: "AttentionMap") -> None:
        """Number, source, translation and heat map of the next line."""
        from s2s.inference.attention.regions import text_part
        from s2s.inference.attention.regions_terminal import render_regions
        from s2s.inference.attention.terminal import legend, render
        from s2s.inference.attention.visible_tokens import visible_line

        self.number += 1
        if self.number == 1:
            self.console.print(legend(coloured=self.is_coloured), soft_wrap=True)
        if not found.source:
            line = visible_line(found.source_text)
            said = f"{line} (no features)" if line.strip() else "(an empty line)"
            self.console.print(f"\n{self.number}: {said}", markup=False, soft_wrap=True)
            return
        texts = f"{visible_line(found.source_text)} → {visible_line(found.target_text)}"
        self.console.print(f"\n{self.number}: {texts}\n", markup=False, soft_wrap=True)
        width, is_coloured = self.console.width, self.is_coloured
        text = text_part(found)
        if text.source:
            self.console.print(render(text, width, coloured=is_coloured), soft_wrap=True)
        if found.pictures:
            regions = render_regions(found, width, self.grid, coloured=is_coloured)
            self.console.print(regions or "(one region per image)", soft_wrap=True)


@contextmanager
def _opened(path: Path | None) -> Iterator[Iterable[str]]:
    """The lines of a file, or of stdin; raises `DataError`, and leaves errors of output as they
    are."""
    from s2s.text.lines import STANDARD, decode_lines, is_standard, name_of, open_input

    place = path or STANDARD
    stream = open_input(place)
    try:
        yield decode_lines(stream, name_of(place))
    finally:
        if not is_standard(place):
            stream.close()
