"""The folder of the recipes that come with s2s; imports nothing that takes time."""

from importlib import resources
from pathlib import Path


def shipped_folder() -> Path:
    """The folder: a wheel has it inside the package, a source tree beside it."""
    package = Path(str(resources.files("s2s")))
    found = (package / "recipes", package.parent / "recipes")
    return next((folder for folder in found if folder.is_dir()), package)
