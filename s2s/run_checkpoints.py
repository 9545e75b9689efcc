"""Checkpoints of a run: weights and training state, of which the last good ones always survive.

    checkpoints/STEP/weights.safetensors    what translating reads
    checkpoints/STEP/training.safetensors   what going on with training reads; may be deleted
    checkpoints.json                        which step is the last, which the best

A checkpoint is written under a temporary name, flushed, renamed, and only then named in
`checkpoints.json`; what that file named before is deleted last. Nothing is ever unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from s2s.errors import RunError, TrainingError
from s2s.files import (
    atomic_write,
    remove,
    remove_leftovers,
    sync_folder,
    sync_tree,
    temporary_beside,
)

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"
TRAINING = "training.safetensors"

Which = Literal["best", "last"] | int
"""How a checkpoint is asked for: by its role, or by its step."""


@dataclass(frozen=True)
class CheckpointIndex:
    """Which checkpoints a run has; steps are numbers of updates."""

    last: int | None = None
    """Where training goes on."""
    best: int | None = None
    """What translating uses: the best so far on validation."""
    best_score: float | None = None
    """Its validation score; larger is better."""


class TrainingState(NamedTuple):
    """All that going on with training needs besides the weights."""

    tensors: dict[str, "Tensor"]
    """Optimizer moments, averages, states of random generators."""
    meta: dict[str, Any]
    """Everything that is no tensor, as plain JSON."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the run in `run_folder`; one process at a time may write."""

    run_folder: Path

    @property
    def folder(self) -> Path:
        """Where the checkpoints lie."""
        return self.run_folder / "checkpoints"

    @property
    def index_path(self) -> Path:
        """The file that names the last and the best."""
        return self.run_folder / "checkpoints.json"

    def index(self) -> CheckpointIndex:
        """The last and the best checkpoint; raises `RunError` for a file that is not s2s's."""
        try:
            content = json.loads(self.index_path.read_bytes())
            index = CheckpointIndex(**content)
        except FileNotFoundError:
            return CheckpointIndex()
        except (OSError, ValueError, TypeError) as error:
            what = f"{self.index_path}: expected the list of checkpoints, found something else"
            raise RunError(f"{what}; restore the file, or train again with --restart") from error
        if not all(isinstance(step, int | None) for step in (index.last, index.best)):
            raise RunError(f"{self.index_path}: expected whole numbers as steps")
        return index

    def resolve(self, which: Which) -> int:
        """The step of a checkpoint; the last one stands in for a best that is not known yet.

        Raises `RunError` where there is no such checkpoint.
        """
        index = self.index()
        match which:
            case "best":
                step = index.last if index.best is None else index.best
            case "last":
                step = index.last
            case int():
                step = which
        if step is None:
            raise RunError(f"{self.run_folder}: no checkpoint yet; 's2s train' writes one")
        if not (self.folder / str(step)).is_dir():
            there = ", ".join(str(known) for known in self.steps()) or "none"
            raise RunError(f"{self.folder}: no checkpoint {step}; there: {there}")
        return step

    def steps(self) -> list[int]:
        """Every checkpoint on the disk, in ascending order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def weights(self, which: Which) -> dict[str, "Tensor"]:
        """The weights of a checkpoint, on the CPU; raises `RunError` for a file that is none."""
        return _read(self.folder / str(self.resolve(which)) / WEIGHTS)[0]

    def training(self, step: int) -> TrainingState | None:
        """The training state of a checkpoint; None where it was deleted."""
        path = self.folder / str(step) / TRAINING
        if not path.exists():
            return None
        tensors, metadata = _read(path)
        try:
            return TrainingState(tensors, json.loads(metadata["state"]))
        except (KeyError, ValueError) as error:
            raise RunError(f"{path}: not a training state of s2s; {_ADVICE}") from error

    def write(
        self,
        step: int,
        weights: Mapping[str, "Tensor"],
        training: TrainingState | None = None,
        *,
        score: float | None = None,
        is_best: bool = False,
    ) -> None:
        """Save a checkpoint as the last one, and as the best one on `is_best`.

        Checkpoints that are then neither are deleted. Raises `TrainingError` when the disk does
        not take it (full, read-only, gone); what was saved before is intact then.
        """
        old = self.index()
        new = CheckpointIndex(
            step, step if is_best else old.best, score if is_best else old.best_score
        )
        try:
            self._publish(step, weights, training)
            atomic_write(self.index_path, json.dumps(asdict(new)) + "\n")
        except (OSError, RunError) as error:
            # When only the last flush failed, the new index is in place, if maybe not for good.
            self._prune(old, self.index())
            raise TrainingError(self._not_saved(step, old, error)) from error
        self._prune(new)

    def clear(self) -> None:
        """Delete every checkpoint."""
        remove(self.index_path)  # first: an index without checkpoints would be a broken run
        remove(self.folder)

    def _publish(
        self, step: int, weights: Mapping[str, "Tensor"], training: TrainingState | None
    ) -> None:
        """Write the files of a checkpoint, complete or not at all."""
        target = self.folder / str(step)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        temporary = temporary_beside(target)
        try:
            temporary.mkdir()
            _save(temporary / WEIGHTS, weights, {"step": str(step)})
            if training is not None:
                state = {"state": json.dumps(training.meta)}
                _save(temporary / TRAINING, training.tensors, state)
            sync_tree(temporary)
            _move(temporary, target)
            sync_folder(self.folder)
        finally:
            _discard(temporary)

    def _prune(self, *indices: CheckpointIndex) -> None:
        """Delete checkpoints that no index names; one that cannot be is left for later."""
        kept = {step for index in indices for step in (index.last, index.best)}
        for step in self.steps():
            if step not in kept:
                _discard(self.folder / str(step))

    def _not_saved(self, step: int, old: CheckpointIndex, error: Exception) -> str:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kept = "" if old.last is None else f"; the checkpoint of update {old.last} is intact"
        return f"{self.folder}: cannot save the checkpoint of update {step}: {reason}{kept}"


_ADVICE = "restore it, choose another checkpoint, or train again with --restart"


def _move(temporary: Path, target: Path) -> None:
    """Rename a complete checkpoint to its place.

    A step saved twice (by the clock, then as the best) has the same weights both times. Its files
    are replaced one by one: a folder with content cannot be, and no instant may be without it.
    """
    if not target.is_dir():
        temporary.rename(target)
        return
    for path in sorted(temporary.iterdir()):
        path.replace(target / path.name)
    sync_folder(target)


def _discard(path: Path) -> None:
    try:
        remove(path)
    except OSError:
        return  # the next write tries again


def _save(path: Path, tensors: Mapping[str, "Tensor"], metadata: dict[str, str]) -> None:
    """Write tensors; raises `OSError`, or `RunError` with what safetensors makes of one."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    owners: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        # safetensors refuses tensors that share memory, as slices of one buffer do.
        is_shared = flat.untyped_storage().data_ptr() in owners and flat.numel() > 0
        plain[name] = flat.clone() if is_shared else flat
        owners.add(flat.untyped_storage().data_ptr())
    try:
        save_file(plain, path, metadata)
    except SafetensorError as error:
        full = "No space left on device"
        raise RunError(full if full in str(error) else " ".join(str(error).split())) from error


def _read(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """Tensors and metadata of a file; raises `RunError` for one that is missing or no such file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())  # it has no iterator of its own
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; {_ADVICE}") from None
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        what = f"{path}: truncated, or not written by s2s ({reason})"
        raise RunError(f"{what}; {_ADVICE}") from error
