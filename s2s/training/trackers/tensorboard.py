"""TensorBoard: event files in the run's folder, for `tensorboard --logdir runs`."""

import warnings
from collections.abc import Mapping
from typing import Any

from s2s.training.trackers.base import TENSORBOARD, Outcome, Tracked


class TensorBoardTracker:
    """Writes with PyTorch's own writer, which needs the package tensorboard."""

    def __init__(self, tracked: Tracked) -> None:
        with warnings.catch_warnings():  # of the packages that it imports
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter

        # After a crash the points beyond the checkpoint come again: TensorBoard drops the old ones.
        purge = tracked.update + 1 if tracked.update else None
        create: Any = SummaryWriter
        self.writer = create(
            log_dir=str(tracked.folder / TENSORBOARD), purge_step=purge, max_queue=1000
        )
        if not tracked.update:
            table = "".join(f"| {name} | {value} |\n" for name, value in tracked.fields.items())
            self.writer.add_text("recipe", f"| field | value |\n| --- | --- |\n{table}", 0)

    def log(self, values: Mapping[str, float], update: int) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, update)

    def close(self, outcome: Outcome) -> None:
        """See `Tracker`."""
        del outcome
        self.writer.close()
