"""Outputs of a report are kept in the run's folder, beside the hypotheses of `s2s evaluate`."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from s2s.data.preparation.fingerprints import FINGERPRINT_FILE
from s2s.files import atomic_write, remove_abandoned
from s2s.metrics.resampling import seed
from s2s.pipeline.output_names import ModelName, describe
from s2s.report.outputs import Kept, Outputs, dump_kept, load_kept
from s2s.report.translate_split import Wanted
from s2s.run.directory import Run
from s2s.run.environment import PACKAGES
from s2s.version import __version__

FORM = 1
"""Increases when outputs are computed in another way."""


def path_of(run: Run, wanted: Wanted) -> Path:
    """The file of these outputs."""
    model = ModelName(members=((run.name, wanted.checkpoint),)).in_file_name
    search = describe(wanted.search)
    return run.folder / "outputs" / f"{wanted.split}.{model}.{search}.report.json"


def key_of(run: Run, wanted: Wanted, device: str) -> str:
    """A hash of all that decides the outputs and their scores.

    Files of image features are large; the fingerprint of the data knows them by their content.
    """
    recipe = run.recipe
    content: dict[str, Any] = {
        "form": FORM,
        "wanted": asdict(wanted),
        "device": device,
        "model": repr(recipe.model),
        "data": repr(recipe.data),
        "metrics": [recipe.metrics, repr(recipe.scoring), recipe.train.best, seed()],
        "versions": [__version__, *map(_version, PACKAGES)],
        "files": {
            path.relative_to(run.folder).as_posix(): _hash(path) for path in _files(run, wanted)
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read(path: Path, key: str) -> Outputs | None:
    """The outputs in a file; None if it is missing, damaged or of another key."""
    try:
        kept = load_kept(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return kept.outputs if kept.key == key else None


def write(path: Path, key: str, outputs: Outputs) -> None:
    """Write the file. Raises OSError where that is impossible, as in a run that is read-only."""
    remove_abandoned(path.parent)
    atomic_write(path, dump_kept(Kept(key=key, outputs=outputs)))


def _files(run: Run, wanted: Wanted) -> Iterator[Path]:
    folder = run.folder
    yield folder / "checkpoints" / str(wanted.checkpoint) / "weights.safetensors"
    yield folder / "data" / FINGERPRINT_FILE
    yield folder / "data" / f"{wanted.split}.arrow"
    if "copied" in run.recipe.metrics:
        yield folder / "data" / "train.arrow"
    yield from sorted(path for path in run.tokenizer_folder.rglob("*") if path.is_file())
    if wanted.search.shortlist:
        yield from sorted(folder.glob("shortlist*"))


def _hash(path: Path) -> str | None:
    """A hash of a file's content; None for one that cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None
