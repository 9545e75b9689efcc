"""The files that a recipe names: one, a pattern, or a list of both."""

from glob import glob, has_magic
from pathlib import Path

from s2s.errors import DataError
from s2s.recipe.section import Files, names_of
from s2s.text.remote import local_copy, url_of


def files_of(files: Files) -> list[Path]:
    """The files in order: a list in its own, those of a pattern sorted by name.

    `**` stands for any folders. A URL is one file, of which this is a local copy. A name with `*`,
    `?` or `[` that exists is a file, not a pattern.
    Raises DataError for a pattern without files.
    """
    return [path for name in names_of(files) for path in _matches(name)]


def described(files: Files) -> str:
    """The entry in messages, shortened."""
    first, *more = names_of(files)
    return f"{first} and {len(more)} more" if more else first


def _matches(name: str) -> list[Path]:
    if url_of(name) is not None:
        return [local_copy(name)]
    path = Path(name)
    if not has_magic(name) or path.exists():
        return [path]
    # Path.glob refuses absolute patterns and finds hidden files.
    names = glob(name, recursive=True)  # noqa: PTH207
    found = [one for one in map(Path, names) if not one.is_dir()]
    if not found:
        raise DataError(f"{name}: no file matches this pattern")
    return sorted(found, key=lambda one: one.as_posix())
