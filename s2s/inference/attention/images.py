"""The images that features were extracted from, to draw attention on. Needs Pillow."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from s2s.errors import DataError, UsageError

SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")
"""Suffixes of an id in the name of its file."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow reads more formats, some of them through other programs."""

SIDE = 320
"""Pixels of the longer side of an image in a page."""

MAX_NAMED = 10
"""The most missing images that are reported."""


class ImageFolder:
    """Images by the ids of their features. Raises UsageError for a path that is not a folder."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        if not folder.is_dir():
            raise UsageError(f"--images: expected a folder, found {folder}")
        self._folder = folder
        self._report = report
        self._missing: set[str] = set()

    def open(self, id_: str) -> Image.Image | None:
        """The image of an id, in RGB; None, reported once, if it is missing or unreadable.

        Raises DataError for an id that leads out of the folder.
        """
        for suffix in SUFFIXES:
            path = self._folder / f"{id_}{suffix}"
            if not path.resolve().is_relative_to(self._folder.resolve()):
                raise DataError(
                    f"{self._folder}: expected ids that are names in this folder, found '{id_}', "
                    "which leads out of it"
                )
            if path.is_file():
                return self._read(path, id_)
        self._report_missing(id_, f"no image '{id_}'")
        return None

    def _read(self, path: Path, id_: str) -> Image.Image | None:
        try:
            with Image.open(path, formats=FORMATS) as image:
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self._report_missing(id_, f"{path.name} cannot be read as an image ({error})")
            return None

    def _report_missing(self, id_: str, what: str) -> None:
        if id_ in self._missing:
            return
        self._missing.add(id_)
        if len(self._missing) <= MAX_NAMED:
            last = "; further ones are not reported" if len(self._missing) == MAX_NAMED else ""
            self._report(f"{self._folder}: {what}: drawn without it{last}")


def data_uri(image: Image.Image) -> str:
    """The image as a JPEG of at most `SIDE` pixels a side, for a self-contained page."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
