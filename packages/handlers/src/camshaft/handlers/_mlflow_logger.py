"""Write values to an MLflow tracking server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from camshaft.engine import StateDictError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._logger import Logger


class MLflowLogger(Logger):
    """Writes metrics into a run of an MLflow tracking server.

    The run is made by the first value, and shown as finished once the logger is closed, as failed
    when a `with` block is left by an error. Saved and restored with the training, the logger goes on
    in the same run. MLflow never forgets a metric: steps that are done again after a resume are there twice.

    Args:
        experiment: its name; it is made when it is missing.
        run_name: shown for the run; None lets MLflow make one up.
        tracking_uri: where to write; None means what MLflow itself is set to.

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
        """The id of the run, which is made when there is none yet."""
        if self._run_id is None:
            found = self.client.get_experiment_by_name(self._experiment)
            experiment_id = self.client.create_experiment(self._experiment) if found is None else found.experiment_id
            self._run_id = str(self.client.create_run(experiment_id, run_name=self._run_name).info.run_id)
        elif not self._is_open:
            self.client.update_run(self._run_id, status="RUNNING")
        self._is_open = True
        return self._run_id

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write the values as metrics of the run."""
        now_ms = int(time.time() * 1000)
        metric = self._mlflow.entities.Metric
        self.client.log_batch(self.run_id, [metric(name, value, now_ms, step) for name, value in values.items()])

    def close(self) -> None:
        """Mark the run as finished."""
        self._end("FINISHED")

    def state_dict(self) -> dict[str, Any]:
        """Return which run it is; None before the first value."""
        return {"run_id": self._run_id}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on in a saved run.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"run_id"}:
            raise StateDictError(f"`state_dict` must have 'run_id' and nothing else, got {state_dict!r}")
        run_id = state_dict["run_id"]
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
