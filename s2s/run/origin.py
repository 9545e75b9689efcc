"""What a run takes over from trained runs, copied into its folder before its training begins.

    origin/weights/      weights.safetensors, tokenizer/, origin.json     train.init_from
    origin/PLACE/        the tokenizers of the run that PLACE names       tokenizer, kind: from_run
                         (tokenizer, tokenizer.source, tokenizer.target)

So a run whose training has begun never reads the other run again, which may be trained on, changed
or deleted. Weights are a hard link where the file system has it: checkpoints are replaced, never
changed.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.errors import RunError
from s2s.files import atomic_folder, atomic_write, read_json
from s2s.run.checkpoints import WEIGHTS, Which, read_tensors, save_tensors
from s2s.run.exported import is_allowed
from s2s.text.taken_tokenizer import ORIGIN_FOLDER

if TYPE_CHECKING:
    from torch import Tensor

    from s2s.run.directory import Run

ORIGIN_FILE = "origin.json"
FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """Where initial weights come from."""

    folder: Path
    """The folder of the copy."""
    run: str
    """The run, as messages name it."""
    checkpoint: str
    """Update or name of its checkpoint."""
    sha256: str
    """Hash of the file of weights."""

    def weights(self) -> "dict[str, Tensor]":
        """The weights, on the CPU. Raises RunError for a file that is missing or changed."""
        path = self.folder / WEIGHTS
        if path.is_file() and _sha256(path) != self.sha256:
            raise RunError(f"{path}: not the weights that were copied; s2s train --restart")
        return read_tensors(path)[0]

    @property
    def tokenizer_folder(self) -> Path:
        """The tokenizers of the run."""
        return self.folder / "tokenizer"


def weights_folder(run_folder: Path) -> Path:
    """The folder of initial weights of a run."""
    return run_folder / ORIGIN_FOLDER / "weights"


def copy_weights(source: "Run", name: str, checkpoint: Which, run_folder: Path) -> Origin:
    """Copy a checkpoint of `source`, which the recipe calls `name`, and its tokenizers, to be
    initial weights of another run.

    Raises RunError for a checkpoint that is missing or damaged, or a disk that takes no files.
    """
    target = weights_folder(run_folder)
    step = source.resolve_checkpoint(checkpoint)
    tensors = source.read_weights(checkpoint)
    try:
        with atomic_folder(target) as temporary:
            file = source.folder / "checkpoints" / str(step) / WEIGHTS
            if source.is_exported:
                save_tensors(temporary / WEIGHTS, tensors, {"format": "pt"})
            else:
                _link(file, temporary / WEIGHTS)
            _copy_tokenizers(source.tokenizer_folder, temporary / "tokenizer")
            found = Origin(target, source.place, str(step), _sha256(temporary / WEIGHTS))
            facts = {"run": found.run, "checkpoint": found.checkpoint, "sha256": found.sha256}
            _write_origin(temporary, {"name": name, **facts})
    except OSError as error:
        raise _cannot_copy(target, error) from error
    return found


def read_origin(run_folder: Path) -> Origin | None:
    """The initial weights in a run's folder; None if it has none."""
    folder = weights_folder(run_folder)
    try:
        content = read_json(folder / ORIGIN_FILE)
        found = (str(content[key]) for key in ("run", "checkpoint", "sha256"))
        return Origin(folder, *found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def copy_tokenizers(source: "Run", name: str, target: Path) -> None:
    """Copy the tokenizers of a run, which the recipe calls `name`, into the folder `target`,
    replacing any.

    Raises RunError for a disk that takes no files.
    """
    try:
        with atomic_folder(target) as temporary:
            _copy_tokenizers(source.tokenizer_folder, temporary)
            _write_origin(temporary, {"name": name, "run": source.place})
    except OSError as error:
        raise _cannot_copy(target, error) from error


def read_name(folder: Path) -> str | None:
    """What the recipe called the run that a copy is of; None if there is no copy."""
    try:
        content = read_json(folder / ORIGIN_FILE)
        return str(content["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_origin(folder: Path, facts: dict[str, str]) -> None:
    text = json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False)
    atomic_write(folder / ORIGIN_FILE, text + "\n")


def _copy_tokenizers(source: Path, target: Path) -> None:
    """The files of tokenizers alone, without the fingerprint of what they were trained on."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and is_allowed(f"tokenizer/{name.as_posix()}"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cannot_copy(target: Path, error: OSError) -> RunError:
    return RunError(f"{error.filename or target}: cannot copy: {error.strerror or error}")
