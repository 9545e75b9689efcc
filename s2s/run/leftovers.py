"""Deletes what killed commands have left in a run: temporary files in all its folders."""

import os
from pathlib import Path

from s2s.files import TEMPORARY, remove_abandoned

WRITTEN_LOCKED = ("tokenizer", "data", "environment.json", "checkpoints.json", ".owner")
"""Names in a run's folder that are written under its lock alone."""


def remove_leftovers_of(run_folder: Path) -> None:
    """Delete the temporary files of killed commands; the caller holds the lock of the run.

    A file that may be written without the lock stays as long as its writer lives.
    """
    for folder, names, _ in os.walk(run_folder):
        locked = WRITTEN_LOCKED if Path(folder) == run_folder else ()
        remove_abandoned(Path(folder), is_locked=locked)
        names[:] = [name for name in names if not name.startswith(TEMPORARY)]
