"""Finds images in files and folders, gives them ids, and reads them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from s2s.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes of images in a folder; a file given by name may have any."""

Naming = Literal["name", "stem", "path"]


@dataclass(frozen=True)
class ImageFile:
    """An image to extract features from."""

    path: Path
    id: str


def find_images(names: Iterable[str], naming: Naming) -> list[ImageFile]:
    """The images among files and folders, those of a folder in the order of their paths.

    An id is the file's name, its name without suffix, or its path below the given folder (for a
    given file, that path). Raises UsageError if there are no images, DataError for a missing file,
    for two images of one id and for an id that is not a line of text.
    """
    found: dict[str, ImageFile] = {}
    for path, below in _files(names):
        id_ = _id(path, below, naming)
        if id_ in found and found[id_].path == path:
            continue  # given twice, perhaps as a file of a given folder
        if id_ in found:
            advice = "" if naming == "path" else "; --ids path tells them apart"
            raise DataError(f"{path}: its id '{id_}' is also that of {found[id_].path}{advice}")
        found[id_] = ImageFile(path, id_)
    if not found:
        raise UsageError(
            f"no images; expected files, or folders with {', '.join(sorted(SUFFIXES))}"
        )
    return list(found.values())


def read_image(path: Path) -> "Image":
    """The image in RGB, rotated as its EXIF data say; the first of several frames.

    Raises OSError or ValueError (also those derived by Pillow) if it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            # Pillow warns when it drops the transparency of a palette.
            image = upright.convert("RGBA") if "transparency" in upright.info else upright
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except (SyntaxError, EOFError, TypeError, IndexError, OverflowError) as error:
        # Raised by Pillow's parsers for some damaged files.
        raise ValueError(f"damaged ({error})") from error


def _files(names: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """Every image file, and its path below the given folder."""
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            for file in sorted(file for file in inside if file.is_file()):
                yield file, file.relative_to(path)
        elif path.exists():
            yield path, path
        else:
            raise DataError(f"{path}: no such file or folder")


def _id(path: Path, below: Path, naming: Naming) -> str:
    match naming:
        case "name":
            id_ = path.name
        case "stem":
            id_ = path.stem
        case "path":
            id_ = below.as_posix()
    if "\n" in id_ or "\r" in id_ or not _is_utf8(id_):
        raise DataError(f"{str(path)!a}: expected a name that is one line of UTF-8")
    return id_


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # undecodable bytes in a file name
        return False
    return True
