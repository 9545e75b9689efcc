"""What a shell completes: names of recipes, runs and checkpoints, read from folders alone.

Each function is given what typer finds by its parameters: the context and the word so far.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from s2s.messages import printable


def recipe_names(incomplete: str) -> list[str]:
    """Recipes that come with s2s."""
    from s2s.recipe.shipped_folder import shipped_folder

    return _fitting((path.stem for path in shipped_folder().glob("*.yaml")), incomplete)


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Runs in the folder of runs."""
    found = _runs(context).glob("*/recipe.yaml")
    return _fitting((path.parent.name for path in found), incomplete)


def run_or_recipe_names(context: typer.Context, incomplete: str) -> list[str]:
    """Runs in the folder of runs, and recipes in the current folder."""
    recipes = (path.name for path in Path().glob("*.yaml"))
    return run_names(context, incomplete) + _fitting(recipes, incomplete)


def checkpoint_names(context: typer.Context, incomplete: str) -> list[str]:
    """Checkpoints of the run that the command line names, else of all; `best` and `last` first."""
    places = ("run", "run_option", "target_run")
    named: Any = next((found for place in places if (found := context.params.get(place))), None)
    names = named if isinstance(named, list | tuple) else [named] if named else []
    folders = [place for name in names for place in (Path(name), _runs(context) / name)]
    found = [
        path
        for folder in folders or list(_runs(context).glob("*"))
        for path in (folder / "checkpoints").glob("*")
        if path.is_dir() and not path.name.startswith(".")
    ]
    roles = [word for word in ("best", "last") if word.startswith(incomplete)]
    return roles + _fitting((path.name for path in found), incomplete)


def _runs(context: typer.Context) -> Path:
    return Path(context.params.get("runs") or "runs")


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    """The names that begin so; a shell prints them as they are, so those for which it would do more
    are left out."""
    return sorted({one for one in names if one.startswith(incomplete) and printable(one) == one})
