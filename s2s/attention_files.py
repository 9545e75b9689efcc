"""Where attention maps are written: pictures, a page, arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from s2s.attention import AttentionMap
from s2s.attention_html import page
from s2s.attention_npz import write_npz
from s2s.errors import UsageError
from s2s.files import atomic_write

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class MapFiles:
    """What is to be written. Raises UsageError where pictures are asked for without Pillow."""

    png: Path | None = None
    """A folder: `line-1.png` and following, none for a line without tokens."""
    html: Path | None = None
    npz: Path | None = None
    fonts: tuple[Path, ...] = ()
    """Font files for pictures, to be preferred to those of the machine."""

    def __post_init__(self) -> None:
        if self.png is not None and find_spec("PIL") is None:
            raise UsageError("--png needs Pillow: pip install 's2s[plots]'; --html needs nothing")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return self.png is None and self.html is None and self.npz is None

    def write(self, maps: Sequence[AttentionMap], title: str, report: Report) -> None:
        """Write all files, each whole or not at all; `report` is told what could not be drawn."""
        if self.html is not None:
            atomic_write(self.html, "".join(page(maps, title)))
        if self.npz is not None:
            write_npz(self.npz, maps)
        if self.png is not None:
            _write_pictures(self.png, maps, self.fonts, report)


def _write_pictures(
    folder: Path, maps: Sequence[AttentionMap], fonts: tuple[Path, ...], report: Report
) -> None:
    from s2s.attention_png import MOST, lacking_letters, png

    lacking: set[str] = set()
    folder.mkdir(parents=True, exist_ok=True)
    for number, attention in enumerate(maps, start=1):
        size = max(attention.weights.shape)
        if size > MOST:
            report(f"line {number}: {size:,} tokens are too many for a picture ({MOST} at most)")
        elif attention.source:
            atomic_write(folder / f"line-{number}.png", png(attention, fonts))
            lacking |= lacking_letters(attention, fonts)
    if lacking:
        some = "".join(sorted(lacking)[:10])
        report(f"no font here has {len(lacking)} letters ({some}): boxes; --font or --html helps")
