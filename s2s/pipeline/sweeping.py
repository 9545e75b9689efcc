"""Trains a recipe with several settings, one after the other, and compares their validation.

Each setting is a run as `s2s train` makes it. So a sweep needs no state of its own to continue: it
skips runs that have finished, resumes those that have begun, and begins the others. Values that the
recipe leaves to s2s are chosen once, so that settings differ in nothing but what the sweep varies;
`runs/NAME.sweep.json` keeps them.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.data.preparation.prepare import fingerprints_of, is_data_missing, is_prepared, open_splits
from s2s.data.preparation.share import share_prepared
from s2s.errors import Interrupted, RecipeError, RunInUse, S2sError, UsageError
from s2s.files import atomic_write, read_json
from s2s.messages import note, write_line
from s2s.pipeline.defaults import (
    adopt,
    choose,
    complete,
    described,
    keys_of,
    plain_choices,
    read_choices,
)
from s2s.pipeline.sweep_results import SettingResult, Sweep, results_of
from s2s.pipeline.training import train
from s2s.pipeline.transfer import take_over
from s2s.recipe.grid import Grid, Setting, read_grid
from s2s.recipe.load import Draft, differences, load_draft
from s2s.recipe.metrics import VALUES
from s2s.recipe.moved_files import moved
from s2s.run.directory import FREE, RUNS, Run
from s2s.training.distributed.launch import is_launched

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.tasks.defaults.choice import Choice

CHOOSING = ("task", "data", "tokenizer")
"""Sections on which choices depend; where a sweep varies them, it chooses for each value."""

Report = Callable[[Sweep], None]
"""Called after every setting, and before the first."""


@dataclass(kw_only=True)
class _Planned:
    """A setting that may train."""

    setting: Setting
    name: str
    """Of the run."""
    draft: Draft | None
    """None for a faulty recipe."""
    error: str | None = None
    state: str | None = None
    """`finished`, `failed` or `in use`, of this sweep's attempt."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How the settings of a sweep train."""

    count: int | None = None
    """The number of settings, drawn at random; None for all."""
    seed: int = 1
    """Of that draw."""
    metric: str | None = None
    """The value that ranks settings; by default `train.best` of the recipe."""
    runs: Path = RUNS
    device: str = "auto"
    workers: int = 1


def sweep(
    path: Path,
    overrides: Sequence[str],
    options: SweepOptions | None = None,
    *,
    report: Report = lambda found: None,
    trains: bool = True,
) -> Sweep:
    """Train the recipe at `path` with every setting of `overrides` (`A.B=X,Y`), or resume that.

    A setting that fails does not stop the others. With `trains` false, only say what is known.
    Raises UsageError where nothing can be compared, RecipeError where the recipe is faulty in every
    setting, Interrupted after Ctrl-C, with the current training saved.
    """
    if is_launched():
        raise UsageError("a sweep trains in one process or with --workers, not under torchrun")
    return _Sweeper(path, read_grid(overrides), options or SweepOptions()).run(report, trains)


@dataclass
class _Sweeper:
    path: Path
    grid: Grid
    options: SweepOptions
    planned: list[_Planned] = field(default_factory=list)

    def run(self, report: Report, trains: bool) -> Sweep:
        """The sweep, with a report before every setting."""
        if not self.grid.varied:
            raise UsageError(
                "a sweep varies at least one field: --set train.optimizer.learning_rate=1e-3,3e-4"
            )
        settings = self.grid.settings(self.options.count, self.options.seed)
        self.planned = [self._plan(setting) for setting in settings]
        self._check()
        stem = self._stems()[0]
        for one in self.planned:
            one.name = one.name or f"{stem}-{one.setting.suffix}"
            if one.error is not None and trains:
                note(f"{self.options.runs / one.name}: {' '.join(one.error.split())}")
        for number, one in enumerate(self.planned if trains else (), start=1):
            if one.draft is not None and not self._is_finished(one.draft):
                report(self.found())
                note(f"setting {number} of {len(self.planned)}: {self.options.runs / one.name}")
                self._attempt(one, one.draft, report)
        return self.found()

    def _attempt(self, one: _Planned, draft: Draft, report: Report) -> None:
        """Train a setting, and note how that ended. Raises Interrupted after a report."""
        try:
            self._train(draft)
            one.state = "finished"
        except Interrupted:
            report(self.found())
            raise
        except RunInUse as error:
            one.state, one.error = "in use", str(error)
        except S2sError as error:
            one.state, one.error = "failed", str(error)
        except Exception as error:  # such as memory that is too small: others may fit
            one.state, one.error = "failed", f"{type(error).__name__}: {error}"
        if one.error is not None:
            note(" ".join(one.error.split()))
        _free_memory()

    def _plan(self, setting: Setting) -> _Planned:
        """The setting with the name of its run: that of the recipe, and the values."""
        try:
            named = load_draft(self.path, setting.overrides)
            name = f"{named.name}-{setting.suffix}"
            draft = load_draft(self.path, [*setting.overrides, f"name={name}"])
        except RecipeError as error:
            return _Planned(setting=setting, name="", draft=None, error=str(error), state="failed")
        return _Planned(setting=setting, name=name, draft=draft)

    def _check(self) -> None:
        """Raises RecipeError or UsageError where the sweep as a whole cannot be."""
        drafts = [one.draft for one in self.planned if one.draft is not None]
        if not drafts:
            raise RecipeError((self.planned[0].error or "").split("\n"))
        if len({one.setting.suffix.lower() for one in self.planned}) < len(self.planned):
            raise UsageError("--set: two settings have names that a file system may confuse")
        if not any(draft.recipe.data.has_validation for draft in drafts):
            raise UsageError(
                f"{self.path}: a sweep compares validation scores, and data has no validation "
                "pairs; data.hold_out takes some from training"
            )
        metric = self.options.metric
        known = {value for names in VALUES.values() for value in names} | {"loss"}
        if metric is not None and metric not in known:
            raise UsageError(
                f"--metric: expected one of {', '.join(sorted(known))}, found {metric}"
            )

    def _stems(self) -> list[str]:
        """The names that the recipe gives its runs, without those of the settings."""
        drafts = [one for one in self.planned if one.draft is not None]
        stems = (one.name.removesuffix(f"-{one.setting.suffix}") for one in drafts)
        return list(dict.fromkeys(stems))

    def found(self) -> Sweep:
        """What is known of all settings."""
        settings = tuple(map(self._result, self.planned))
        chosen = [one.chosen_by for one in settings if one.chosen_by is not None]
        default = next((o.draft.recipe.train.best for o in self.planned if o.draft), "loss")
        metric = self.options.metric or next(iter(chosen), default)
        return Sweep(metric=metric, settings=settings)

    def _result(self, one: _Planned) -> SettingResult:
        folder = self.options.runs / one.name
        known = results_of(Run(folder)) if one.draft is not None else {}
        if one.state is not None:
            known = {**known, "state": one.state, "error": one.error}
        values = one.setting.values
        return SettingResult(name=one.name, folder=str(folder), values=values, **known)

    def _is_finished(self, draft: Draft) -> bool:
        """Whether the run has been trained to its end with this recipe and these data."""
        run = Run(self.options.runs / draft.name)
        if results_of(run)["state"] != "finished":
            return False
        try:
            completed = complete(draft, runs=self.options.runs, device=self.options.device).recipe
            stored = run.recipe
            changed = differences(moved(stored, completed), completed)
            is_same = all(line.partition(":")[0].startswith(FREE[:3]) for line in changed)
            has_data = is_prepared(completed, run.folder) or is_data_missing(completed, run.folder)
            return is_same and has_data and run.checkpoints().last is not None
        except S2sError:  # its training reports it
            return False

    def _train(self, draft: Draft) -> None:
        """Train or resume one setting."""
        options = self.options
        run = Run(options.runs / draft.name)
        with run.lock():
            choices = self._choices(draft)
            completed = adopt(draft, choices, runs=options.runs, device=options.device)
            take_over(run, completed)
            self._share(run, completed)
        threads = _threads()
        try:
            train(draft, runs=options.runs, device=options.device, workers=options.workers)
        finally:
            _set_threads(threads)

    # -------------------------------------------------------------------------------- choices

    def _choices(self, draft: Draft) -> list[Choice]:
        """The choices for a setting: those of the first one with the same data and tokenizer."""
        chooser = self._representative(draft)
        path = self.options.runs / f"{chooser.name}.sweep.json"
        key, before = keys_of(chooser, self.options.device, self.options.runs)
        kept = _read_json(path)
        try:
            return read_choices(kept[key] if key in kept else kept[before])
        except (KeyError, TypeError, ValueError):
            choices = choose(chooser, self.options.device, self.options.runs)
        content = {**kept, key: plain_choices(choices)}
        atomic_write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        for line in described(path, choices):
            write_line(line)
        return choices

    def _representative(self, draft: Draft) -> Draft:
        """The draft for which a setting's values are chosen. It says what all settings say, so the
        sweep's other fields have their first values there."""
        setting = next(one.setting for one in self.planned if one.draft is draft)
        kept = {
            path: value
            for path, value in setting.values.items()
            if path.partition(".")[0] in CHOOSING
        }
        try:
            return load_draft(self.path, self.grid.setting(kept).overrides)
        except RecipeError:  # the first values do not fit these data
            return load_draft(self.path, setting.overrides)

    # -------------------------------------------------------------------------------- sharing

    def _share(self, run: Run, recipe: Recipe) -> None:
        """Link the data of another setting, or of the recipe's own run, if they are the same.

        A run whose training has begun keeps its data, or refuses others.
        """
        if run.checkpoints().last is not None or is_prepared(recipe, run.folder):
            return
        fingerprints = fingerprints_of(recipe, open_splits(recipe, run.folder), run.folder)
        names = [one.name for one in self.planned]
        for name in (*names, *self._stems()):
            other = Run(self.options.runs / name)
            if other.folder == run.folder or not other.recipe_path.is_file():
                continue
            try:
                with other.lock():
                    share_prepared(other.folder, run.folder, fingerprints)
            except RunInUse:
                continue
            if is_prepared(recipe, run.folder):
                return


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _set_threads(count: int) -> None:
    """As a process has them that begins: a small model of one setting trains on one thread."""
    import torch

    torch.set_num_threads(count)


def _free_memory() -> None:
    """Let the next model have what the last one used."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # nothing without a GPU
