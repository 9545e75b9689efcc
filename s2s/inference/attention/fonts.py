"""Labels of heat maps as images, in the fonts of this machine.

A label is drawn in runs, each in the first font that has its letters. A letter that no font has
shows as the box of the last font. raqm, which comes with Pillow, shapes right-to-left scripts.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from s2s.errors import DataError
from s2s.inference.attention.visible_tokens import clusters

Font = ImageFont.FreeTypeFont

KNOWN = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "YuGothR.ttc",
    "malgun.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "Nirmala.ttf",
    "NotoSansThai-Regular.ttf",
    "LeelawUI.ttf",
)
"""Fonts of wide coverage on Linux, macOS and Windows; Pillow knows their folders."""

UNUSED = "\U0010fffd"
"""The last code point for private use, which a font draws like any letter that it lacks."""


class Fonts:
    """Fonts in the order of preference, in one size."""

    def __init__(self, fonts: Sequence[Font]) -> None:
        self._fonts = list(fonts)
        self._boxes = [self._picture(font, UNUSED) for font in fonts]
        self._choice: dict[str, int | None] = {}
        self.missing: set[str] = set()
        """Letters drawn so far that no font has."""

    def level(self, label: str) -> Image.Image:
        """The label as a mask (mode L) of its own width and the fonts' common height."""
        runs = self._runs(label)
        widths = [round(font.getlength(text)) for font, text in runs]
        ascent, descent = self._metrics()
        mask = Image.new("L", (max(sum(widths), 1), ascent + descent))
        draw = ImageDraw.Draw(mask)
        x = 0
        for (font, text), width in zip(runs, widths, strict=True):
            draw.text((x, ascent), text, fill=255, font=font, anchor="ls")
            x += width
        return mask

    def upright(self, label: str) -> Image.Image:
        """The label of a column: turned upwards, or letter below letter if some letter is wide."""
        if not any(unicodedata.east_asian_width(letter) in "WF" for letter in label):
            return self.level(label).transpose(Image.Transpose.ROTATE_90)
        letters = [self.level(cluster) for cluster in clusters(label)]
        size = (max(mask.width for mask in letters), sum(mask.height for mask in letters))
        column = Image.new("L", size)
        y = 0
        for mask in letters:
            column.paste(mask, ((size[0] - mask.width) // 2, y))
            y += mask.height
        return column

    def _metrics(self) -> tuple[int, int]:
        metrics = [font.getmetrics() for font in self._fonts]
        return max(up for up, _ in metrics), max(down for _, down in metrics)

    def _runs(self, label: str) -> list[tuple[Font, str]]:
        """(font, text) from left to right."""
        runs = [
            (self._fonts[font], "".join(letters))
            for font, letters in groupby(clusters(label), self._font_of)
        ]
        is_leftwards = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in label)
        return runs[::-1] if is_leftwards else runs

    def _font_of(self, cluster: str) -> int:
        """The number of the first font that has the letter; marks do not count."""
        letter = cluster[0]
        if letter not in self._choice:
            having = [
                place
                for place, font in enumerate(self._fonts)
                if self._picture(font, letter) != self._boxes[place]
            ]
            self._choice[letter] = having[0] if having else None
        chosen = self._choice[letter]
        if chosen is None:
            self.missing.add(letter)
            return len(self._fonts) - 1
        return chosen

    @staticmethod
    def _picture(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
        mask = font.getmask(letter)
        return mask.size, bytes(mask)


@lru_cache
def load_fonts(size: int, chosen: tuple[Path, ...] = ()) -> Fonts:
    """The fonts in `chosen`, then those of the machine, then the Latin one inside Pillow.

    Raises DataError for a chosen file that is not a font.
    """
    fonts = []
    for path in chosen:
        try:
            fonts.append(ImageFont.truetype(str(path), size))
        except OSError as error:
            raise DataError(f"{path}: cannot be read as a font ({error})") from error
    for name in KNOWN:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    default = ImageFont.load_default(size)
    if isinstance(default, Font):
        # It comes last: before fonts with more letters it would split words into two styles.
        fonts.append(default)
    return Fonts(fonts)
