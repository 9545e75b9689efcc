"""Weights & Biases: a run of the project that `WANDB_PROJECT` names, else of `s2s`.

Its environment variables hold, among them `WANDB_MODE=offline`.
"""

import os
from collections.abc import Mapping

from s2s.training.trackers.base import Outcome, Tracked

EXIT_CODES: dict[Outcome, int] = {"finished": 0, "interrupted": 130, "failed": 1}
"""Anything but 0 is shown as failed; W&B has no state for an interruption."""


class WandbTracker:
    """A run of W&B."""

    def __init__(self, tracked: Tracked) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "s2s"),
            name=tracked.name,
            dir=str(tracked.folder),
            id=tracked.read_id("wandb"),
            resume="allow",
            config=dict(tracked.fields),
            settings=wandb.Settings(console="off"),  # the display of training stays as it is
        )
        tracked.write_id("wandb", self.run.id)
        # Its own steps never go back, but a resumed training may: updates are the axis instead.
        self.run.define_metric("update")
        self.run.define_metric("*", step_metric="update")

    def log(self, values: Mapping[str, float], update: int) -> None:
        """See `Tracker`."""
        self.run.log({"update": update, **values})

    def close(self, outcome: Outcome) -> None:
        """See `Tracker`."""
        self.run.finish(exit_code=EXIT_CODES[outcome])
