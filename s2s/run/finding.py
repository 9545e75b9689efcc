"""Finds the run that a user names: a folder, a model file, a repository of the hub."""

import difflib
from pathlib import Path

from s2s.errors import UsageError
from s2s.run.directory import RUNS, Run
from s2s.run.hub import is_hub_name, pulled
from s2s.run.model_file import SUFFIX, unpacked

LONGEST_NAME = 4000
"""Bytes of a path: no system has longer ones."""


def newest_run(root: Path = RUNS) -> Run:
    """The run that wrote a checkpoint last; raises `UsageError` if there is none."""
    written = [(p.stat().st_mtime_ns, p.parent) for p in root.glob("*/checkpoints.json")]
    if not written:
        what = f"{root}: no trained run here; 's2s train' makes one"
        raise UsageError(f"{what}, --run names one in another folder")
    return Run.open(max(written)[1])


def find_run(name: str, root: Path = RUNS) -> Run:
    """The run `name` in `root` or in the folder `name`, else the exported model `name`: a file, or
    a repository `owner/name` of the hub.

    Raises `UsageError` if there is none, `RunError` for a model that is damaged or refused.
    """
    if len(name.encode(errors="replace")) > LONGEST_NAME or "\0" in name:
        raise UsageError(
            f"{name[:60]!r}...: expected the name of a run, found none that can be one"
        )
    for folder in (Path(name), root / name):
        if (folder / "recipe.yaml").is_file():
            return Run.open(folder)
    if Path(name).is_file():
        return Run.open(unpacked(Path(name)), name)
    first = name.partition("/")[0]
    is_here = first == root.name or Path(first).is_dir() or name.endswith(SUFFIX)
    if is_hub_name(name) and not is_here:
        return Run.open(pulled(name), name)
    known = sorted(path.parent.name for path in root.glob("*/recipe.yaml"))
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    advice = f" (did you mean '{folded[near[0]]}'?)" if near else ""
    listed = f"; {root} has {', '.join(known[:8])}" if known else ""
    raise UsageError(f"{name}: no such run, neither as a folder nor in {root}{advice}{listed}")


def find_named_run(place: str, name: str, root: Path = RUNS) -> Run:
    """The run that an option or a place of a recipe names; errors begin with that place.

    Raises `UsageError` and `RunError` as `find_run` does.
    """
    try:
        return find_run(name, root)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error
