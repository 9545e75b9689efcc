"""The weights of a run's reranking: `rerank.json` in its folder, with what they were tuned on."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s2s.errors import RunError, UsageError
from s2s.files import atomic_write, parse_json, remove_abandoned
from s2s.recipe.choices import TaskName
from s2s.run.directory import Run

NAME = "rerank.json"
FORMAT = 1

FEATURES = ("log_prob", "length", "reverse", "lm")
"""The model's log-probability of an output, the number of its tokens, and log-probabilities of the
source given the output and of the output under a language model."""


LARGEST = 1e6
"""Of a weight, so that sums stay finite; those of a tuning are at most 1."""


@dataclass(frozen=True, kw_only=True)
class RerankWeights:
    """What a tuning found."""

    weights: Mapping[str, float]
    """By feature, of `FEATURES`; those of runs that are not given are missing."""
    reverse: str | None
    """The folder of the run that translates the other way, from the run's folder."""
    lm: str | None
    """The folder of the language model, likewise."""
    candidates: int
    """The width of the beam that found the candidates."""
    checkpoint: str
    """Of the run."""
    metric: str
    lines: int
    """The lines of the validation split."""
    before: float
    """Value of the metric, with the candidates as the beam ranks them."""
    after: float
    """The same, reranked."""


def write_rerank_weights(run: Run, found: RerankWeights) -> Path:
    """Save the weights in the run; returns the path. Raises RunError if the disk refuses them."""
    path = run.folder / NAME
    remove_abandoned(run.folder)
    try:
        atomic_write(path, json.dumps({"format": FORMAT, **asdict(found)}, indent=2) + "\n")
    except OSError as error:
        raise RunError(f"{path}: cannot write it: {error.strerror}") from error
    return path


def read_rerank_weights(run: Run) -> RerankWeights:
    """The weights of a run. Raises UsageError where it has none, RunError for a damaged file."""
    path = run.folder / NAME
    again = f"'s2s tune-rerank {run.folder}' finds them"
    if run.is_exported:
        raise UsageError(
            f"{run.place}: exported models have no weights to rerank by ({NAME}); use the run's "
            "folder"
        )
    if not path.is_file():
        raise UsageError(f"{run.place}: no weights to rerank by ({NAME}); {again}")
    try:
        content: Any = parse_json(path.read_bytes())
        format_ = content.pop("format")
        found = RerankWeights(**content)
        is_sound = _is_sound(found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: not weights of s2s, or damaged; {again}") from error
    if format_ != FORMAT or not is_sound:
        raise RunError(f"{path}: not weights of s2s, or damaged; {again}")
    return found


def _is_sound(found: RerankWeights) -> bool:
    """Whether weights are numbers of known features, and name the runs that these features need."""
    weights = found.weights
    if not weights or not set(weights) <= set(FEATURES):
        return False
    numbers = [weights[name] for name in weights]
    if any(isinstance(one, bool) or not -LARGEST <= one <= LARGEST for one in numbers):
        return False
    runs = {"reverse": found.reverse, "lm": found.lm}
    return all(isinstance(run, str) == (name in weights) for name, run in runs.items())


def other_runs(run: Run, found: RerankWeights) -> tuple[Run | None, Run | None]:
    """The reverse run and the language model of a run's weights. Raises RunError where one is gone,
    or is of another task by now."""
    return _other_run(run, found.reverse, "translation"), _other_run(run, found.lm, "lm")


def _other_run(run: Run, place: str | None, task: TaskName) -> Run | None:
    if place is None:
        return None
    folder = Path(os.path.normpath(run.folder / place))
    again = f"'s2s tune-rerank {run.folder}' tunes with another"
    if not (folder / "recipe.yaml").is_file():
        raise RunError(f"{run.folder / NAME}: expected a run at {folder}, found none; {again}")
    other = Run.open(folder)
    if other.recipe.task != task:
        raise RunError(
            f"{run.folder / NAME}: expected a run of task '{task}' at {folder}, found one of task "
            f"'{other.recipe.task}'; {again}"
        )
    return other
