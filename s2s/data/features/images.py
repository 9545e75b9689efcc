"""Images on the disk: which there are, what each is called, and how one is read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from s2s.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files of a folder that are taken for images; a file that is named may be called anything."""

Naming = Literal["name", "stem", "path"]


@dataclass(frozen=True)
class ImageFile:
    """An image that features are wanted of."""

    path: Path
    id: str


def find_images(names: Iterable[str], naming: Naming) -> list[ImageFile]:
    """The images among files and folders, those of a folder in the order of their paths.

    An id is the file's name, that without its suffix, or its path below the folder that was given
    (of a file: the path that was given). Raises UsageError where there are no images, DataError for
    what is not there, for two images of one id and for an id that is no line of text.
    """
    found: dict[str, ImageFile] = {}
    for path, below in _files(names):
        id_ = _id(path, below, naming)
        if id_ in found and found[id_].path == path:
            continue  # given twice, once perhaps as a part of its folder
        if id_ in found:
            advice = "" if naming == "path" else "; --ids path tells them apart"
            raise DataError(f"{path}: its id '{id_}' is that of {found[id_].path} too{advice}")
        found[id_] = ImageFile(path, id_)
    if not found:
        raise UsageError(
            f"no images; expected files, or folders with {', '.join(sorted(SUFFIXES))}"
        )
    return list(found.values())


def read_image(path: Path) -> "Image":
    """The image as it is meant to be seen, in red, green and blue; the first of several frames.

    Raises OSError or ValueError (with all that Pillow derives from them) where it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            # Pillow warns of palettes with transparency that lose it on the way.
            image = upright.convert("RGBA") if "transparency" in upright.info else upright
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except (SyntaxError, EOFError, TypeError, IndexError, OverflowError) as error:
        # What Pillow's parsers raise for some damaged files.
        raise ValueError(f"damaged ({error})") from error


def _files(names: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """Every image file, and its path below what was asked for."""
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
    except UnicodeEncodeError:  # bytes of a file name that are none
        return False
    return True
