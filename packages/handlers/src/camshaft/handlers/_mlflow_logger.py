"""Write values to an MLflow tracking server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from camshaft.engine import StateDictError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._logger import Logger
from camshaft.handlers._saved_state import require_keys


class MLflowLogger(Logger):
    """Writes metrics into a run of an MLflow tracking server.

    The first value creates the run. The run is marked as finished when the logger is closed, and as failed when an
    error ends its `with` block. If the logger is saved and restored with the training, it continues in the same run.
    MLflow never removes a metric: steps that are repeated after a resume are there twice.

    Args:
        experiment: name of the experiment, which is created if it is missing.
        run_name: name of the run; None lets MLflow invent one.
        tracking_uri: where to write; None means what MLflow is configured for.

    Attributes:
        client: the `mlflow.MlflowClient`, for parameters, tags and artifacts of the run `run_id`.

    Raises:
        ExtraMissingError: mlflow is not installed; the extra is camshaft-handlers[mlflow].
    """

    def __init__(
        self, experiment: str = "Default", run_name: str | None = None, *, tracking_uri: str | None = None
    ) -> None:
        self._mlflow = import_extra("mlflow", "mlflow", "MLflowLogger")
        self.client = self._mlflow.MlflowClient(tracking_uri)
        self._experiment = experiment
        self._run_name = run_name
        self._run_id: str | None = None
        self._is_open = False

    @property
    def run_id(self) -> str:
        """The id of the run, which is created if there is none yet."""
        if self._run_id is None:
            found = self.client.get_experiment_by_name(self._experiment)
            experiment_id = self.client.create_experiment(self._experiment) if found is None else found.experiment_id
            self._run_id = str(self.client.create_run(experiment_id, run_name=self._run_name).info.run_id)
        elif not self._is_open:
            self.client.update_run(self._run_id, status="RUNNING")
        self._is_open = True
        return self._run_id

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write the values as metrics of the run.

        Args:
            values: names to numbers; at least one.
            step: what they belong to.
        """
        now_ms = int(time.time() * 1000)
        metric = self._mlflow.entities.Metric
        self.client.log_batch(self.run_id, [metric(name, value, now_ms, step) for name, value in values.items()])

    def close(self) -> None:
        """Mark the run as finished."""
        self._end("FINISHED")

    def state_dict(self) -> dict[str, Any]:
        """Return the id of the run; None before the first value."""
        return {"run_id": self._run_id}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue in a saved run.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        (run_id,) = require_keys(state_dict, "run_id")
        if not isinstance(run_id, str | None):
            raise StateDictError(f"`run_id` must be a string or None, got {run_id!r}")
        self._run_id = run_id
        self._is_open = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end("FINISHED" if error is None else "FAILED")

    def _end(self, status: str) -> None:
        if self._is_open and self._run_id is not None:
            self.client.set_terminated(self._run_id, status)
            self._is_open = False
