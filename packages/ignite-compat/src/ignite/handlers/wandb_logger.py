"""Write values to Weights & Biases."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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

__all__ = ["OptimizerParamsHandler", "OutputHandler", "WandBLogger", "global_step_from_engine"]


class WandBLogger(BaseLogger):
    """Write through the `wandb` module.

    Every function of the module can be called as a method: ``logger.watch(model)``.

    Args:
        args: of `wandb.init`.
        kwargs: of `wandb.init`; ``init=False`` leaves that to you.

    Raises:
        ModuleNotFoundError: wandb is not installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._wandb = import_tracker("wandb", "WandBLogger")
        if kwargs.pop("init", True):
            self._wandb.init(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Not before the module is there: copying asks an empty object.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._wandb, name)

    def close(self) -> None:
        """Finish the run."""
        self._wandb.finish()

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> OutputHandler:
        return OutputHandler(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> OptimizerParamsHandler:
        return OptimizerParamsHandler(*args, **kwargs)


class OutputHandler(BaseOutputHandler):
    """Log the engine's output, its metrics and attributes of its state; strings too.

    Args:
        tag: put in front of names.
        metric_names: keys of `engine.state.metrics`, or "all".
        output_transform: makes what is logged from `engine.state.output`.
        global_step_transform: ``f(engine, event_name)`` returns the step; None for the event's counter.
        sync: has no effect any more.
        state_attributes: names of attributes of `engine.state`.

    Raises:
        ValueError: there is nothing to log.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        tag: str,
        metric_names: str | list[str] | None = None,
        output_transform: Callable[..., Any] | None = None,
        global_step_transform: Callable[[AnyEngine, Any], int] | None = None,
        sync: bool | None = None,
        state_attributes: list[str] | None = None,
    ) -> None:
        super().__init__(tag, metric_names, output_transform, global_step_transform, state_attributes)
        _warn_of_sync(sync)

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now."""
        require_logger(logger, WandBLogger, self, RuntimeError)
        step = self.global_step(engine, event_name)
        values = self._setup_output_metrics_state_attrs(engine, log_text=True, key_tuple=False)
        logger.log(values, step=step)


class OptimizerParamsHandler(BaseOptimizerParamsHandler):
    """Log a parameter of an optimizer, one value for each group.

    Args:
        optimizer: an optimizer, or anything with a list `param_groups`.
        param_name: key in the parameter groups.
        tag: put in front of names.
        sync: has no effect any more.

    Raises:
        TypeError: `optimizer` has no `param_groups`.
    """

    def __init__(
        self, optimizer: Any, param_name: str = "lr", tag: str | None = None, sync: bool | None = None
    ) -> None:
        super().__init__(optimizer, param_name, tag)
        _warn_of_sync(sync)

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now."""
        require_logger(logger, WandBLogger, self, RuntimeError)
        step = engine.state.get_event_attrib_value(event_name)
        logger.log(self.named_params(), step=step)


def _warn_of_sync(sync: bool | None) -> None:
    if sync is not None:
        warnings.warn("`sync` has no effect any more", EngineWarning, stacklevel=3)
