"""The table of trackers. A new one is a line here, a file beside it and a name in the recipe."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from s2s.errors import UsageError
from s2s.recipe.choices import TrackerName
from s2s.training.trackers.base import Tracked, Tracker

CLASSES: dict[TrackerName, str] = {
    "tensorboard": "TensorBoardTracker",
    "wandb": "WandbTracker",
    "mlflow": "MlflowTracker",
}
"""The class of each tracker, in the file of its name; also the name of the package it needs."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Raises UsageError if the package of a tracker is not installed. Imports none of them."""
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        raise UsageError(
            f"train.log_to: {', '.join(missing)} not installed; pip install {' '.join(missing)}, "
            "or leave it out: --set train.log_to=[]"
        )


def build_tracker(name: TrackerName, tracked: Tracked) -> Tracker:
    """Open a tracker. Raises what its package raises."""
    module = import_module(f"s2s.training.trackers.{name}")
    tracker: Tracker = getattr(module, CLASSES[name])(tracked)
    return tracker


def _is_installed(name: str) -> bool:
    """Whether a package is there, other than a folder such as `wandb/` of the current one."""
    if name in sys.modules:
        return True
    spec = find_spec(name)
    return spec is not None and spec.origin is not None
