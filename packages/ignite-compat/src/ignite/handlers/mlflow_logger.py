"""Write values to an MLflow tracking server."""

from __future__ import annotations

import re
import warnings
from typing import Any

from camshaft.engine import EngineWarning
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._optional import import_tracker
from ignite.handlers.base_logger import (
    BaseLogger,
    BaseOptimizerParamsHandler,
    BaseOutputHandler,
    require_logger,
)
from ignite.handlers.utils import global_step_from_engine

__all__ = ["MLflowLogger", "OptimizerParamsHandler", "OutputHandler", "global_step_from_engine"]

# What MLflow takes for a metric's name.
_VALID_NAME = re.compile(r"[\w.\- :/]+")


class MLflowLogger(BaseLogger):
    """Write through the `mlflow` module, in its active run or in one begun here.

    Every function of the module can be called as a method: ``logger.log_params({"lr": 0.1})``.

    Args:
        tracking_uri: where to write; None for what MLflow is set to.

    Attributes:
        active_run: the run.

    Raises:
        ModuleNotFoundError: mlflow is not installed.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self._mlflow = import_tracker("mlflow", "MLflowLogger")
        if tracking_uri is not None:
            self._mlflow.set_tracking_uri(tracking_uri)
        self.active_run = self._mlflow.active_run()
        if self.active_run is None:
            self.active_run = self._begun_run()

    def _begun_run(self) -> Any:
        try:
            return self._mlflow.start_run()
        except self._mlflow.exceptions.MlflowException:
            # A folder that is there, and empty, lacks the experiment that MLflow puts into one that it makes.
            if self._mlflow.search_experiments():
                raise
            return self._mlflow.start_run(experiment_id=self._mlflow.create_experiment("Default"))

    def __getattr__(self, name: str) -> Any:
        # Not before the module is there: copying asks an empty object.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._mlflow, name)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> OutputHandler:
        return OutputHandler(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> OptimizerParamsHandler:
        return OptimizerParamsHandler(*args, **kwargs)


class OutputHandler(BaseOutputHandler):
    """Log the engine's output, its metrics and attributes of its state as metrics of the run.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseOutputHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now; those whose name MLflow does not take are left out, with a warning."""
        require_logger(logger, MLflowLogger, self, TypeError)
        values = self._setup_output_metrics_state_attrs(engine)
        step = self.global_step(engine, event_name)
        named = {" ".join(path): value for path, value in values.items()}
        for name in [name for name in named if not _VALID_NAME.fullmatch(name)]:
            warnings.warn(f"MLflow takes no metric of the name {name!r}", EngineWarning, stacklevel=2)
            del named[name]
        logger.log_metrics(named, step=step)


class OptimizerParamsHandler(BaseOptimizerParamsHandler):
    """Log a parameter of an optimizer, one metric for each group.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseOptimizerParamsHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now."""
        require_logger(logger, MLflowLogger, self, TypeError)
        step = engine.state.get_event_attrib_value(event_name)
        logger.log_metrics(self.named_params(separator=" "), step=step)
