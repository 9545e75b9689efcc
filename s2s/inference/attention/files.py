"""The files of attention maps: pictures, a page, arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.errors import UsageError
from s2s.files import atomic_write, write_output
from s2s.inference.attention.html import page
from s2s.inference.attention.maps import AttentionMap
from s2s.inference.attention.npz import write_npz
from s2s.inference.attention.regions import Grid, text_part

if TYPE_CHECKING:
    from s2s.inference.attention.images import ImageFolder

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class MapFiles:
    """The files to write. Raises UsageError for pictures without Pillow, or where a
    file is in the place of their folder."""

    png: Path | None = None
    """A folder of `line-1.png` and following; a line without tokens has no picture."""
    html: Path | None = None
    npz: Path | None = None
    fonts: tuple[Path, ...] = ()
    """Font files for pictures, preferred to those of the machine."""
    grid: Grid | None = None
    """The grid of the regions; None for a square one."""
    images: Path | None = None
    """The folder of the images that the features were extracted from."""

    def __post_init__(self) -> None:
        if self.png is not None and str(self.png) == "-":
            raise UsageError("--png: expected a folder, found - for stdout")
        if self.png is not None and find_spec("PIL") is None:
            raise UsageError("--png needs Pillow: pip install pillow; --html needs nothing")
        if self.png is not None and self.png.exists() and not self.png.is_dir():
            raise UsageError(
                f"--png {self.png}: expected a folder for the images, one for each line; found a "
                "file"
            )
        if self.images is not None and find_spec("PIL") is None:
            raise UsageError("--images needs Pillow: pip install pillow")
        if self.images is not None and self.png is None and self.html is None:
            raise UsageError("--images: nothing is drawn on them without --png or --html")

    @property
    def is_empty(self) -> bool:
        """Whether there is no file to write."""
        return self.png is None and self.html is None and self.npz is None

    def write(self, maps: Sequence[AttentionMap], title: str, report: Report) -> None:
        """Write all files, each whole or not at all; `report` gets notes on what was not drawn."""
        images = None if self.images is None else _images(self.images, report)
        if self.html is not None:
            shown = None if images is None else partial(_shown, images)
            write_output(self.html, "".join(page(maps, title, self.grid, shown)))
        if self.npz is not None:
            write_npz(self.npz, maps)
        if self.png is not None:
            _write_pictures(self.png, maps, report, _Drawing(self.fonts, self.grid, images))


@dataclass(frozen=True)
class _Drawing:
    """The fonts, grid and images of pictures."""

    fonts: tuple[Path, ...]
    grid: Grid | None
    images: "ImageFolder | None"


def _images(folder: Path, report: Report) -> "ImageFolder":
    from s2s.inference.attention.images import ImageFolder

    return ImageFolder(folder, report)


def _shown(images: "ImageFolder", id_: str) -> tuple[str, float] | None:
    """An image for a page: its data URI and its ratio of width to height."""
    from s2s.inference.attention.images import data_uri

    image = images.open(id_)
    return None if image is None else (data_uri(image), image.width / image.height)


def _write_pictures(
    folder: Path, maps: Sequence[AttentionMap], report: Report, drawing: _Drawing
) -> None:
    from s2s.inference.attention.png import MAX_TOKENS, missing_letters
    from s2s.inference.attention.regions_png import regions_png

    missing: set[str] = set()
    folder.mkdir(parents=True, exist_ok=True)
    for number, attention in enumerate(maps, start=1):
        size = max(text_part(attention).weights.shape)
        if size > MAX_TOKENS:
            report(
                f"line {number}: {size:,} tokens are too many for a picture ({MAX_TOKENS} at most)"
            )
        elif attention.source:
            png = regions_png(attention, drawing.grid, drawing.images, drawing.fonts)
            if png is None:
                report(f"line {number}: one region an image: nothing to draw")
                continue
            atomic_write(folder / f"line-{number}.png", png)
            missing |= missing_letters(text_part(attention), drawing.fonts)
    if missing:
        some = "".join(sorted(missing)[:10])
        report(f"no font here has {len(missing)} letters ({some}): boxes; --font or --html helps")
