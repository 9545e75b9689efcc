"""Finds and copies the recipes that come with s2s."""

from pathlib import Path

from s2s.errors import UsageError
from s2s.files import write_output
from s2s.recipe.load import DEFAULT_RECIPE, ShippedRecipe, shipped_recipes


def find_shipped(name: str) -> ShippedRecipe:
    """The recipe called `name`; raises `UsageError`."""
    found = {recipe.name: recipe for recipe in shipped_recipes()}
    recipe = found.get(name.removesuffix(".yaml"))
    if recipe is None:
        raise UsageError(f"{name}: no such recipe; there are {', '.join(found)}")
    return recipe


def copy_recipe(
    name: str,
    path: str | Path = DEFAULT_RECIPE,
    *,
    force: bool = False,
    option: str = "force=True",
) -> Path:
    """Copy a recipe that comes with s2s into a file or a folder, to run or change it.

    Returns the file. Raises UsageError for an unknown name, a file that cannot be written, and one
    that exists unless `force`; `option` is its name in the message.
    """
    recipe = find_shipped(name)
    path = Path(path)
    if path.is_dir():
        path = path / DEFAULT_RECIPE
    if path.exists() and not force:
        raise UsageError(f"{path}: exists; choose another file, or add {option}")
    try:
        write_output(path, recipe.path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot write it: {error.strerror}") from None
    return path
