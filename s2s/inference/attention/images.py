"""The images that features were made of, to draw attention on. Needs Pillow."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from s2s.errors import DataError, UsageError

SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")
"""What may follow an id in the name of its file."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow knows more, some of which it hands to other programs."""

SIDE = 320
"""Pixels of the longer side of an image in a page."""

NAMED = 10
"""So many images that are not there are named."""


class ImageFolder:
    """Images by the ids of their features. Raises UsageError where the folder is none."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        if not folder.is_dir():
            raise UsageError(f"--images: expected a folder, found {folder}")
        self._folder = folder
        self._report = report
        self._missing: set[str] = set()

    def open(self, id_: str) -> Image.Image | None:
        """The image of an id, in RGB; None, and told once, where it cannot be had.

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
        self._miss(id_, f"no image '{id_}'")
        return None

    def _read(self, path: Path, id_: str) -> Image.Image | None:
        try:
            with Image.open(path, formats=FORMATS) as image:
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self._miss(id_, f"{path.name} cannot be read as an image ({error})")
            return None

    def _miss(self, id_: str, what: str) -> None:
        if id_ in self._missing:
            return
        self._missing.add(id_)
        if len(self._missing) <= NAMED:
            last = "; further ones are not named" if len(self._missing) == NAMED else ""
            self._report(f"{self._folder}: {what}: drawn without it{last}")


def data_uri(image: Image.Image) -> str:
    """The image as a JPEG of at most `SIDE` pixels a side, for a page that needs nothing else."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
