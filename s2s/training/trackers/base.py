"""The interface of trackers, and what each of them keeps in a run's folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from s2s.files import atomic_write, read_json
from s2s.run.directory import TRACKED

IDS, TENSORBOARD = TRACKED
"""The file of ids, and the folder of TensorBoard's event files."""

Outcome = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """The training that a tracker follows."""

    folder: Path
    """The run's folder."""
    name: str
    fields: Mapping[str, Any]
    """The recipe as `train.optimizer.learning_rate: 0.001` and so on."""
    update: int
    """Where training begins: later points of an earlier training are void."""

    def read_id(self, tracker: str) -> str | None:
        """The id that a tracker gave the run when its training began, if it did."""
        found = self._ids().get(tracker)
        return found if isinstance(found, str) else None

    def write_id(self, tracker: str, id_: str) -> None:
        """Keep the id, so that a resumed training continues the same curves."""
        ids = {**self._ids(), tracker: id_}
        atomic_write(self.folder / IDS, json.dumps(ids, indent=1) + "\n")

    def _ids(self) -> dict[str, Any]:
        try:
            content = read_json(self.folder / IDS)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


class Tracker(Protocol):
    """Receives numbers during training. Whatever it raises costs the tracker, not the training."""

    def log(self, values: Mapping[str, float], update: int) -> None:
        """Finite values at an update, such as `train/nll`."""

    def close(self, outcome: Outcome) -> None:
        """Training ends; write what is still in memory."""
