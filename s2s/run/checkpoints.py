"""Checkpoints of a run: weights and training state, of which the last good ones always survive.

    checkpoints/STEP/weights.safetensors    read by translation
    checkpoints/STEP/training.safetensors   read to resume training; may be deleted
    checkpoints/NAME/weights.safetensors    weights made from others by `s2s average`
    checkpoints.json                        the last and the best step
    model.safetensors                       in an exported model, the only checkpoint

A checkpoint is written under a temporary name, flushed, renamed, and then named in
`checkpoints.json`; the checkpoints that this file named before are deleted last. Nothing is ever
unpickled. Training neither reads nor deletes checkpoints with a name instead of a step.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from s2s.data.preparation.fingerprints import FINGERPRINT_FILE, read_fingerprint
from s2s.errors import RunError, TrainingError, UsageError
from s2s.files import (
    atomic_write,
    parse_json,
    read_json,
    remove,
    remove_leftovers,
    rename_folder,
    replace_file,
    sync_folder,
    sync_tree,
    temporary_beside,
)
from s2s.run.exported import WEIGHTS as EXPORTED
from s2s.run.exported import is_exported, read_info

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"
TRAINING = "training.safetensors"

Which = str | int
"""The choice of a checkpoint: `best`, `last`, its step, or its name."""

NAME = re.compile(r"(?!(best|last|update\d*)$)[A-Za-z][A-Za-z0-9_-]{0,63}")
"""Valid names of checkpoints, distinct from roles and from file names of updates."""


def read_which(text: str | int, name: str) -> Which:
    """`best`, `last`, a step or a name; raises `UsageError`, with the `name` of the option, for
    anything else."""
    if isinstance(text, int):
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    if text in ("best", "last") or NAME.fullmatch(text):
        return text
    raise UsageError(f"{name}: expected best, last, a number of updates or a name, found {text}")


@dataclass(frozen=True)
class CheckpointIndex:
    """The roles of a run's checkpoints; steps are numbers of updates."""

    last: int | None = None
    """The step at which training resumes."""
    best: int | None = None
    """The step that translation uses: the best so far on validation."""
    best_score: float | None = None
    """Its validation score; larger is better."""
    kept: tuple[int, ...] = ()
    """Steps whose weights are kept as well, ascending: the latest validated ones."""


class SavedState(NamedTuple):
    """All that resuming training needs beside the weights."""

    tensors: dict[str, "Tensor"]
    """Optimizer moments, averages, states of random generators."""
    meta: dict[str, Any]
    """Everything else, as plain JSON."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the run in `run_folder`; one process at a time may write."""

    run_folder: Path

    @property
    def folder(self) -> Path:
        """The folder of all checkpoints."""
        return self.run_folder / "checkpoints"

    @property
    def index_path(self) -> Path:
        """The file that names the last and the best."""
        return self.run_folder / "checkpoints.json"

    def index(self) -> CheckpointIndex:
        """The last and the best checkpoint; raises `RunError` for an invalid file."""
        try:
            return _index_of(read_json(self.index_path))
        except FileNotFoundError:
            return CheckpointIndex()
        except (OSError, ValueError) as error:
            what = f"{self.index_path}: expected the list of checkpoints, found something else"
            advice = "restore the file, or train again with --restart"
            raise RunError(f"{what} ({error}); {advice}") from error

    def resolve(self, which: Which) -> Which:
        """The step or name of a checkpoint; before the first validation, the best is the last.

        Raises `RunError` for a missing checkpoint.
        """
        if is_exported(self.run_folder):
            return self._exported(which)
        index = self.index()
        found: Which | None
        match which:
            case "best":
                found = index.last if index.best is None else index.best
            case "last":
                found = index.last
            case _:
                found = which
        if found is None:
            raise RunError(f"{self.run_folder}: no checkpoint yet; 's2s train' writes one")
        if not (self.folder / str(found)).is_dir():
            there = ", ".join(map(str, (*self.steps(), *self.names()))) or "none"
            advice = "; 's2s average' makes one" if found == "average" else ""
            raise RunError(f"{self.folder}: no checkpoint {found}; there: {there}{advice}")
        return found

    def steps(self) -> list[int]:
        """The steps of all checkpoints on the disk, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def names(self) -> list[str]:
        """The names of all checkpoints that have a name instead of a step."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if NAME.fullmatch(path.name))

    def weights(self, which: Which) -> dict[str, "Tensor"]:
        """The weights of a checkpoint, on the CPU; raises `RunError` for an invalid file.

        A named checkpoint survives `--restart`, so it is refused if the tokenizers have changed.
        """
        if is_exported(self.run_folder):
            from s2s.nn.stored_weights import read_weights

            self._exported(which)
            path = self.run_folder / EXPORTED
            return read_weights(read_tensors(path)[0], str(path))
        path = self.folder / str(self.resolve(which)) / WEIGHTS
        tensors, metadata = read_tensors(path)
        if "tokenizer" in metadata and metadata["tokenizer"] not in self._tokenizers():
            what = f"{path}: its tokens are those of tokenizers that the run no longer has"
            raise RunError(f"{what}; 's2s average' makes it again")
        return tensors

    def _exported(self, which: Which) -> Which:
        """The checkpoint of an exported model, which is its best and its last."""
        there = read_info(self.run_folder, str(self.run_folder)).checkpoint
        if which not in ("best", "last") and str(which) != there:
            raise RunError(f"{self.run_folder}: no checkpoint {which}; there: {there}")
        return int(there) if there.isdecimal() else there

    def training(self, step: int) -> SavedState | None:
        """The training state of a checkpoint; None if it was deleted."""
        path = self.folder / str(step) / TRAINING
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        try:
            state = parse_json(metadata["state"])
        except (KeyError, ValueError) as error:
            raise RunError(f"{path}: not a training state of s2s; {_ADVICE}") from error
        if not isinstance(state, dict):
            raise RunError(f"{path}: not a training state of s2s; {_ADVICE}")
        return SavedState(tensors, state)

    def write(
        self,
        step: int,
        weights: Mapping[str, "Tensor"],
        training: SavedState | None = None,
        *,
        score: float | None = None,
        is_best: bool = False,
        keep: int | None = None,
    ) -> None:
        """Save a checkpoint as the last one and, if `is_best`, as the best one.

        With `keep`, its weights are kept, and those of the `keep` latest such checkpoints.
        Checkpoints without a role are deleted. Raises `TrainingError` if the disk refuses the files
        (full, read-only, gone); earlier checkpoints are then intact.
        """
        old = self.index()
        new = CheckpointIndex(
            step,
            step if is_best else old.best,
            score if is_best else old.best_score,
            old.kept if keep is None else _latest({*old.kept, step}, keep),
        )
        try:
            self._publish(str(step), {"step": str(step)}, weights, training)
            atomic_write(self.index_path, json.dumps(asdict(new)) + "\n")
        except (OSError, RunError) as error:
            # If only the last flush failed, the new index is in place, but may not be on the disk.
            self._prune(old, self.index())
            raise TrainingError(self._not_saved(step, old, error)) from error
        self._prune(new)

    def choose_best(self, step: int, score: float) -> None:
        """Make the checkpoint of a step, which is there, the best one."""
        index = replace(self.index(), best=step, best_score=score)
        atomic_write(self.index_path, json.dumps(asdict(index)) + "\n")

    def write_named(
        self, name: str, weights: Mapping[str, "Tensor"], metadata: Mapping[str, str]
    ) -> None:
        """Save weights under a name, replacing any of that name.

        Raises `RunError` if the disk refuses the files; earlier ones are then intact.
        """
        assert NAME.fullmatch(name), "callers check names"
        try:
            self._publish(name, {**metadata, "tokenizer": self._tokenizer()}, weights, None)
        except (OSError, RunError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise RunError(f"{self.folder}: cannot save {name}: {reason}") from error

    def clear(self, *, with_names: bool) -> None:
        """Delete all checkpoints; named ones only if `with_names`."""
        remove(self.index_path)  # first: an index without checkpoints would be a broken run
        if with_names:
            remove(self.folder)
        remove_leftovers(self.folder)
        for step in self.steps():
            remove(self.folder / str(step))

    def _tokenizer(self, fingerprint: str | None = None) -> str:
        """A hash of the run's tokenizers; empty without tokenizers.

        What they were trained on does not count. Earlier versions counted the `fingerprint` of it.
        """
        folder = self.run_folder / "tokenizer"
        if not folder.is_dir():
            return ""
        found = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if path == folder / FINGERPRINT_FILE:
                if fingerprint is None:
                    continue
                content = fingerprint.encode()
            found.update(path.relative_to(folder).as_posix().encode() + b"\0")
            found.update(hashlib.sha256(content).digest())
        return found.hexdigest()

    def _tokenizers(self) -> Iterator[str]:
        """The hashes of the run's tokenizers, as this version and earlier ones compute it."""
        yield self._tokenizer()
        for fingerprint in read_fingerprint(self.run_folder / "tokenizer"):
            yield self._tokenizer(fingerprint)

    def _publish(
        self,
        name: str,
        metadata: dict[str, str],
        weights: Mapping[str, "Tensor"],
        training: SavedState | None,
    ) -> None:
        """Write all files of a checkpoint, or none."""
        target = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        temporary = temporary_beside(target)
        try:
            temporary.mkdir()
            save_tensors(temporary / WEIGHTS, weights, metadata)
            if training is not None:
                state = {"state": json.dumps(training.meta)}
                save_tensors(temporary / TRAINING, training.tensors, state)
            sync_tree(temporary)
            _move(temporary, target)
            sync_folder(self.folder)
        finally:
            _discard(temporary)

    def _prune(self, *indices: CheckpointIndex) -> None:
        """Delete checkpoints that no index names, and the training state of those kept for weights.

        A checkpoint that cannot be deleted is left for the next call.
        """
        used = {step for index in indices for step in (index.last, index.best)}
        kept = {step for index in indices for step in index.kept}
        for step in self.steps():
            if step not in used | kept:
                _discard(self.folder / str(step))
            elif step not in used:
                _discard(self.folder / str(step) / TRAINING)

    def _not_saved(self, step: int, old: CheckpointIndex, error: Exception) -> str:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kept = "" if old.last is None else f"; the checkpoint of update {old.last} is intact"
        return f"{self.folder}: cannot save the checkpoint of update {step}: {reason}{kept}"


def _index_of(content: Any) -> CheckpointIndex:
    """The content of `checkpoints.json`. Raises ValueError for anything else."""
    known = {item.name for item in fields(CheckpointIndex)}
    if not isinstance(content, dict) or not set(content) <= known:
        raise ValueError("not an object with " + ", ".join(sorted(known)))
    last, best, score, kept = (content.get(item.name) for item in fields(CheckpointIndex))
    if not isinstance(kept, list | None):
        raise ValueError("'kept' is no list")
    steps = [*(step for step in (last, best) if step is not None), *(kept or ())]
    if not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**63 for s in steps):
        raise ValueError("expected whole numbers as steps")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        raise ValueError("'best_score' is no number")
    return CheckpointIndex(last, best, score, tuple(kept or ()))


def _latest(steps: set[int], count: int) -> tuple[int, ...]:
    return tuple(sorted(steps)[max(0, len(steps) - count) :])


_ADVICE = "restore it, choose another checkpoint, or train again with --restart"


def _move(temporary: Path, target: Path) -> None:
    """Rename a complete checkpoint to its place.

    A step saved twice (by the clock, then as the best) has the same weights both times. Its files
    are replaced one by one, as a folder with content cannot be replaced atomically.
    """
    if not target.is_dir():
        rename_folder(temporary, target)
        return
    for path in sorted(temporary.iterdir()):
        replace_file(path, target / path.name)
    sync_folder(target)


def _discard(path: Path) -> None:
    try:
        remove(path)
    except OSError:
        return  # the next write tries again


def save_tensors(path: Path, tensors: Mapping[str, "Tensor"], metadata: dict[str, str]) -> None:
    """Write tensors to a file; raises `OSError`, or `RunError` with the message of safetensors."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    pointers: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        # safetensors refuses tensors that share memory, such as slices of one buffer.
        is_shared = flat.untyped_storage().data_ptr() in pointers and flat.numel() > 0
        plain[name] = flat.clone() if is_shared else flat
        pointers.add(flat.untyped_storage().data_ptr())
    try:
        save_file(plain, path, metadata)
    except SafetensorError as error:
        full = "No space left on device"
        raise RunError(full if full in str(error) else " ".join(str(error).split())) from error


def read_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """Tensors and metadata of a file; raises `RunError` for a missing or invalid one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())  # it has no iterator of its own
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; {_ADVICE}") from None
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        what = f"{path}: truncated, or not written by s2s ({reason})"
        raise RunError(f"{what}; {_ADVICE}") from error
