"""The run directory: all files of one training run, safe against crashes.

runs/NAME/
  recipe.yaml  environment.json     the resolved recipe; versions and hardware
  tokenizer/   data/                made by `prep`
  checkpoints/ checkpoints.json     see `s2s.run.checkpoints`
  metrics.jsonl                     one object per event
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from s2s.errors import RecipeError, RunInUse, RunNotWritable, UsageError
from s2s.files import atomic_write, read_json, remove
from s2s.recipe.load import differences, dump_recipe, load_recipe
from s2s.recipe.moved_files import moved
from s2s.recipe.recipe import Recipe
from s2s.recipe.yaml import Keys
from s2s.run.best_checkpoint import choose_best
from s2s.run.checkpoints import CheckpointIndex, Checkpoints, SavedState, Which
from s2s.run.environment import check_format, describe_environment
from s2s.run.exported import check_model, is_exported
from s2s.run.folder_check import check_files, refuse_link, refuse_links
from s2s.run.history import LONGEST_EVENT, event_line, parse_event
from s2s.run.leftovers import remove_leftovers_of
from s2s.run.model_file import SUFFIX

if TYPE_CHECKING:
    from torch import Tensor

RUNS = Path("runs")
"""The default folder of runs."""

FREE = (
    *("search", "metrics", "scoring"),
    *("train.patience", "train.save_minutes", "train.keep", "train.log_to"),
)
LENGTH = ("train.epochs", "train.max_updates")
BEST = ("train.best",)
"""Sections and fields that may change after training has begun: `FREE` always, `LENGTH` if the
learning rate does not depend on the total, `BEST` if it does not depend on validation."""

TRACKED = ("trackers.json", "tensorboard")
"""What experiment trackers keep of one training; a training that starts over gets new curves."""

_MAX_DIFFERENCES = 8


@dataclass(frozen=True)
class Run:
    """One run, or an exported model; a process that writes to it holds its lock."""

    folder: Path
    origin: str | None = None
    """What the user named instead of the folder: a model file, or a repository of the hub."""

    @classmethod
    def create(cls, recipe: Recipe, root: Path = RUNS) -> "Run":
        """The run of a recipe; its folder is made if missing, a stored recipe stays as it is."""
        assert recipe.name is not None, "load_recipe gives every recipe a name"
        run = cls(root / recipe.name)
        if run.recipe_path.exists():
            return cls.open(run.folder)
        with run._writing():
            run.folder.mkdir(parents=True, exist_ok=True)
            run.store_recipe(recipe)
        return run

    @classmethod
    def open(cls, folder: Path, origin: str | None = None) -> "Run":
        """The run or exported model in `folder`; raises `UsageError` if there is none.

        Raises `RunError` for a run of a newer s2s or with pipes among its files, and for a damaged
        model.
        """
        run = cls(folder, origin)
        check_files(folder, run.place)
        if is_exported(folder):
            check_model(folder, run.place)
        elif not run.recipe_path.is_file():
            raise UsageError(f"{run.place}: no run here (expected a recipe.yaml)")
        check_format(run.environment_path)
        return run

    @property
    def is_exported(self) -> bool:
        """Whether this is an exported model, to which nothing is written."""
        return is_exported(self.folder)

    @property
    def place(self) -> str:
        """The run as messages name it."""
        return self.origin or str(self.folder)

    @property
    def name(self) -> str:
        """The name of the run's folder, or that of the model."""
        if self.origin is None:
            return self.folder.resolve().name
        return PurePath(self.origin.partition("@")[0]).name.removesuffix(SUFFIX)

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.yaml"

    @property
    def environment_path(self) -> Path:
        """Versions and hardware of the run."""
        return self.folder / "environment.json"

    @property
    def tokenizer_folder(self) -> Path:
        """The folder of the tokenizers that `prep` makes."""
        return self.folder / "tokenizer"

    @property
    def data_folder(self) -> Path:
        """The folder of the encoded corpus that `prep` makes."""
        return self.folder / "data"

    @property
    def features_folder(self) -> Path:
        """The folder for copies of feature files that cannot be mapped."""
        return self.folder / "features"

    @property
    def features_cache(self) -> Path | None:
        """The same for reading; None for an exported model, to which nothing is written."""
        return None if self.is_exported else self.features_folder

    @property
    def metrics_path(self) -> Path:
        """The file of events, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    def digest(self) -> str:
        """What the run's recipe, prepared data and checkpoints are, in a few bytes: the same on all
        machines that see the same state of the folder."""
        found = hashlib.sha256()
        places = (self.tokenizer_folder / "fingerprint", self.data_folder / "fingerprint")
        for path in (self.recipe_path, *places, self.folder / "checkpoints.json"):
            content = path.read_bytes() if path.is_file() else b""
            found.update(len(content).to_bytes(8, "big") + content)
        return found.hexdigest()

    @property
    def recipe(self) -> Recipe:
        """The stored recipe, read at each access: `check_same` may replace it."""
        return load_recipe(self.recipe_path)

    def store_recipe(self, recipe: Recipe) -> None:
        """Replace the stored recipe; the reasons of its chosen values are comments in it."""
        with self._writing():
            atomic_write(self.recipe_path, self.text_of(recipe))

    def text_of(self, recipe: Recipe) -> str:
        """A recipe in YAML, with the reasons of the values that were chosen for this run."""
        return dump_recipe(recipe, self._reasons())

    @property
    def defaults_path(self) -> Path:
        """The values that were chosen to fit the data, with their reasons."""
        return self.folder / "defaults.json"

    def read_defaults(self) -> dict[str, Any]:
        """The content of `defaults_path`; empty if there is none that can be read."""
        try:
            content = read_json(self.defaults_path)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write_defaults(self, content: Mapping[str, Any]) -> None:
        """Keep the chosen values, and write their reasons into the stored recipe."""
        with self._writing():
            atomic_write(
                self.defaults_path, json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            )
        self.store_recipe(self.recipe)

    def _reasons(self) -> dict[Keys, str]:
        """The reason of each chosen value, by its keys."""
        try:
            return {
                tuple(map(str, keys)): "chosen: " + " ".join(_visible(one["reason"]).split())
                for one in self.read_defaults().get("choices", ())
                for keys, _ in one["values"]
                if keys and isinstance(one["reason"], str)
            }
        except (KeyError, TypeError, ValueError):
            return {}

    def check_same(self, recipe: Recipe, has_same_data: Callable[[], bool] = lambda: False) -> None:
        """Check that `recipe` can resume this run, and store it.

        Before the first checkpoint any change is allowed, after it those that do not affect
        training: also other paths of data, if `has_same_data` says that the data are those that
        were prepared. Raises `UsageError` with the other changes.
        """
        stored = self.recipe
        if not _differences(stored, recipe):
            return
        if self.checkpoints().last is not None:
            schedule = recipe.train.schedule.kind
            length = () if schedule == "cosine" else LENGTH
            free = (*FREE, *length, *(() if schedule == "plateau" else BEST))
            forbidden = _differences(stored, recipe, free)
            is_moved = not _differences(moved(stored, recipe), recipe, free)
            if forbidden and is_moved and has_same_data():
                forbidden = []
            if forbidden:
                raise UsageError(_different_recipe(self.folder, forbidden))
            if stored.train.best != recipe.train.best:
                with self._writing():
                    choose_best(self._checkpoints, recipe.train.best, self.read_events())
        self.store_recipe(recipe)

    def restart(self, recipe: Recipe) -> None:
        """Delete checkpoints and events and store `recipe`; prepared data stays.

        Named checkpoints stay too, unless the model has changed.
        """
        with self._writing():
            self._checkpoints.clear(with_names=not self._has_model_of(recipe))
            remove(self.metrics_path)
            for name in TRACKED:
                remove(self.folder / name)
        self.store_recipe(recipe)

    def _has_model_of(self, recipe: Recipe) -> bool:
        try:
            return self.recipe.model == recipe.model
        except RecipeError:  # damaged, or of an older s2s: a restart repairs it
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the run; raises `RunInUse` at once if another process holds it,
        `UsageError` for an exported model."""
        from filelock import FileLock, Timeout

        if self.is_exported:
            raise UsageError(f"{self.place}: an exported model, to which no command writes")
        owner = self.folder / ".owner"
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            refuse_links(self.folder)
            lock = FileLock(self.folder / ".lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                what = f"{self.folder}: in use by {_owner(owner)}"
                raise RunInUse(f"{what}; wait for it, or stop it first") from None
        try:
            remove_leftovers_of(self.folder)
            with self._writing():
                atomic_write(owner, str(os.getpid()))
            yield
        finally:
            with suppress(OSError):
                remove(owner)
            lock.release()

    def write_environment(self, device: str, seed: int) -> None:
        """Record versions and hardware."""
        content = json.dumps(describe_environment(device, seed), indent=2)
        with self._writing():
            atomic_write(self.environment_path, content + "\n")

    # ------------------------------------------------------------------------------ checkpoints

    @property
    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder)

    def checkpoints(self) -> CheckpointIndex:
        """The last and the best checkpoint; both None before the first."""
        return self._checkpoints.index()

    def resolve_checkpoint(self, which: Which) -> Which:
        """The step or name of a checkpoint; raises `RunError` for a missing one."""
        return self._checkpoints.resolve(which)

    def checkpoint_steps(self) -> list[int]:
        """The steps of all checkpoints, ascending."""
        return self._checkpoints.steps()

    def write_checkpoint(
        self,
        step: int,
        weights: Mapping[str, "Tensor"],
        training: SavedState | None = None,
        *,
        score: float | None = None,
        is_best: bool = False,
        keep: int | None = None,
    ) -> None:
        """Save a checkpoint as the last and, if `is_best`, as the best with `score`.

        With `keep`, its weights stay until so many others have been saved with `keep`. Raises
        `TrainingError` if the disk refuses the files; earlier checkpoints are then intact.
        """
        self._checkpoints.write(step, weights, training, score=score, is_best=is_best, keep=keep)

    def write_named(
        self, name: str, weights: Mapping[str, "Tensor"], metadata: Mapping[str, str]
    ) -> None:
        """Save weights under a name; raises `RunError` if the disk refuses the files."""
        self._checkpoints.write_named(name, weights, metadata)

    def read_weights(self, which: Which = "best") -> dict[str, "Tensor"]:
        """The weights of a checkpoint, on the CPU; raises `RunError` if they cannot be read."""
        return self._checkpoints.weights(which)

    def read_training(self, step: int) -> SavedState | None:
        """The training state saved with a checkpoint; None if it was deleted."""
        return self._checkpoints.training(step)

    # ----------------------------------------------------------------------------------- events

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl`, with the time; NaN and infinities become null."""
        line = event_line(event)
        refuse_link(self.metrics_path)
        with self._writing(), self.metrics_path.open("a+b") as file:
            if file.tell() and not _ends_line(file):
                line = "\n" + line  # after a line left incomplete by a power failure
            file.write(line.encode(errors="backslashreplace"))  # a name that is not UTF-8

    def read_events(self) -> Iterator[dict[str, Any]]:
        """All events so far, without lines that are incomplete or damaged."""
        if not self.metrics_path.exists():
            return
        with self.metrics_path.open("rb") as file:
            while line := file.readline(LONGEST_EVENT + 1):
                if (event := parse_event(line)) is not None:
                    yield event

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an `OSError` into a `RunNotWritable` of one line."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunNotWritable(f"{self.folder}: cannot write there: {reason}") from error


def _visible(text: str) -> str:
    """A text without characters that a comment in YAML must not have. Raises TypeError for
    anything else."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _differences(old: Recipe, new: Recipe, free: tuple[str, ...] = ()) -> list[str]:
    """The lines of `differences` that concern neither the name nor what is free."""
    return [line for line in differences(old, new) if not _concerns(line, (*free, "name"))]


def _concerns(line: str, places: tuple[str, ...]) -> bool:
    """Whether a line of `differences` concerns one of these sections or fields."""
    path = line.partition(":")[0]
    return any(f"{path}.".startswith(f"{place}.") for place in places)


def _different_recipe(folder: Path, forbidden: list[str]) -> str:
    listed = "; ".join(forbidden[:_MAX_DIFFERENCES])
    more = len(forbidden) - _MAX_DIFFERENCES
    if more > 0:
        listed += f"; and {more} more"
    advice = "--set name=NEW starts a new run, --restart starts over in this folder"
    return f"{folder}: trained with another recipe ({listed}); {advice}"


def _owner(path: Path) -> str:
    try:
        return f"process {int(path.read_text(encoding='ascii'))}"
    except (OSError, ValueError):  # it has just begun, or is ending
        return "another process"


def _ends_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")
