"""Finds runs by name and loads their models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s2s.errors import UsageError
from s2s.inference.fusion import Fusion, choose_weight
from s2s.messages import note, silenced
from s2s.pipeline.trained_model import TrainedModel
from s2s.run.checkpoints import read_which
from s2s.run.directory import RUNS, Run
from s2s.run.finding import find_run, newest_run

RunName = str | Path | Run
"""A run: its folder, or its name in the folder of runs."""


def load(
    run: RunName | Sequence[RunName] | None = None,
    *,
    checkpoint: str | int = "best",
    device: str = "auto",
    features: Sequence[str | Path | tuple[str | Path, str | Path | None]] | None = None,
    lm: RunName | None = None,
    lm_weight: float | None = None,
    runs: str | Path = RUNS,
    quiet: bool = False,
) -> TrainedModel:
    """The model of a run: a folder, a name in the folder `runs`, or the newest if None.

    Several runs are an ensemble, whose probabilities are averaged. `checkpoint` is `best`, `last`,
    a number of updates or a name. `features` are files of image features in place of the recipe's,
    each alone or in a pair with the file of its ids. `lm` is a language model whose
    log-probabilities, times `lm_weight` (0.2), search adds. `quiet` silences notes and progress.

    Raises UsageError for runs that do not exist or do not go together, RunError for a checkpoint
    that is missing or damaged, DataError for features that cannot be read.
    """
    which = read_which(checkpoint, "checkpoint")
    with silenced(quiet):
        found = choose_runs(run, Path(runs))
        fusion = _choose_fusion(lm, lm_weight, Path(runs))
    model = TrainedModel(
        found,
        checkpoint=which,
        device=device,
        features=None if features is None else list(map(_file_of_features, features)),
        quiet=quiet,
        fusion=fusion,
    )
    _ = model.models  # reports what is wrong now
    return model


def choose_runs(run: RunName | Sequence[RunName] | None, root: Path) -> list[Run]:
    """The runs of these names; the newest, with a note, if there are none."""
    if run is None:
        newest = newest_run(root)
        note(f"using the newest run, {newest.folder}")
        return [newest]
    several = [run] if isinstance(run, str | Path | Run) else list(run)
    if not several:
        raise UsageError("run: expected a run or several, found an empty list")
    return [one if isinstance(one, Run) else find_run(str(one), root) for one in several]


def _choose_fusion(lm: RunName | None, weight: float | None, root: Path) -> Fusion | None:
    """The language model and its weight. Raises UsageError for a weight alone, or below 0."""
    if lm is None:
        if weight is not None:
            raise UsageError("lm_weight: has no effect without lm")
        return None
    number = choose_weight(weight, "lm_weight")
    return Fusion(run=lm if isinstance(lm, Run) else find_run(str(lm), root), weight=number)


def _file_of_features(
    file: str | Path | tuple[str | Path, str | Path | None],
) -> tuple[Path, Path | None]:
    """A file of features, and that of its ids."""
    path, ids = file if isinstance(file, tuple) else (file, None)
    return Path(path), None if ids is None else Path(ids)
