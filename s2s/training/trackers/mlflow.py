"""MLflow: a run of the experiment that `MLFLOW_EXPERIMENT_NAME` names, else of `s2s`.

Its environment variables hold, above all `MLFLOW_TRACKING_URI`.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from s2s.training.trackers.base import Outcome, Tracked

MOST_PARAMETERS = 100
"""The most parameters that a server accepts at a time."""

LONGEST_VALUE = 500
"""The most letters of a parameter's value, in all versions of the server."""

STATUS: dict[Outcome, str] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MlflowTracker:
    """A run of MLflow; the client leaves MLflow's global state alone."""

    def __init__(self, tracked: Tracked) -> None:
        from mlflow.tracking import MlflowClient

        self.client: Any = MlflowClient()
        id_ = tracked.read_id("mlflow")
        if id_ is None:
            run = self.client.create_run(self._experiment(), run_name=tracked.name)
            id_ = str(run.info.run_id)
            tracked.write_id("mlflow", id_)
            self._log_fields(id_, tracked.fields)
        else:
            self.client.update_run(id_, status="RUNNING")
        self.id = id_

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "s2s")
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name))

    def _log_fields(self, id_: str, fields: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in fields.items()]
        for some in _chunks(params, MOST_PARAMETERS):
            self.client.log_batch(id_, params=some)

    def log(self, values: Mapping[str, float], update: int) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, update) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def close(self, outcome: Outcome) -> None:
        """See `Tracker`."""
        self.client.set_terminated(self.id, STATUS[outcome])


def _chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
