"""Write values for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from ignite.handlers._annotations import AnyEngine
from ignite.handlers.base_logger import (
    BaseLogger,
    BaseOptimizerParamsHandler,
    BaseOutputHandler,
    BaseWeightsHandler,
    BaseWeightsScalarHandler,
    require_logger,
)
from ignite.handlers.utils import global_step_from_engine

__all__ = [
    "GradsHistHandler",
    "GradsScalarHandler",
    "OptimizerParamsHandler",
    "OutputHandler",
    "TensorboardLogger",
    "WeightsHistHandler",
    "WeightsScalarHandler",
    "global_step_from_engine",
]


class TensorboardLogger(BaseLogger):
    """Write through a `SummaryWriter`: that of tensorboardX where it is installed, else that of torch.

    Args:
        args: of the writer.
        kwargs: of the writer; `log_dir` is the folder.

    Attributes:
        writer: the writer.

    Raises:
        ModuleNotFoundError: neither tensorboardX nor tensorboard is installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.writer = _writer_class()(*args, **kwargs)

    def close(self) -> None:
        """Write what is pending, and close the file."""
        self.writer.close()

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> OutputHandler:
        return OutputHandler(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> OptimizerParamsHandler:
        return OptimizerParamsHandler(*args, **kwargs)


class OutputHandler(BaseOutputHandler):
    """Log the engine's output, its metrics and attributes of its state as scalars.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseOutputHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now."""
        require_logger(logger, TensorboardLogger, self, RuntimeError)
        values = self._setup_output_metrics_state_attrs(engine, key_tuple=False)
        step = self.global_step(engine, event_name)
        for name, value in values.items():
            logger.writer.add_scalar(name, value, step)


class OptimizerParamsHandler(BaseOptimizerParamsHandler):
    """Log a parameter of an optimizer, one scalar for each group.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseOptimizerParamsHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now."""
        require_logger(logger, TensorboardLogger, self, RuntimeError)
        step = engine.state.get_event_attrib_value(event_name)
        for name, value in self.named_params().items():
            logger.writer.add_scalar(name, value, step)


class WeightsScalarHandler(BaseWeightsScalarHandler):
    """Log a number for each of a model's weights: its norm, say.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseWeightsScalarHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now."""
        require_logger(logger, TensorboardLogger, self, RuntimeError)
        step = engine.state.get_event_attrib_value(event_name)
        for name, parameter in self.named(self.titled("weights")):
            logger.writer.add_scalar(name, self.reduction(parameter.data), step)


class WeightsHistHandler(BaseWeightsHandler):
    """Log a histogram of each of a model's weights.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseWeightsHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the histograms now."""
        require_logger(logger, TensorboardLogger, self, RuntimeError)
        step = engine.state.get_event_attrib_value(event_name)
        for name, parameter in self.named("weights"):
            logger.writer.add_histogram(tag=name, values=_as_array(parameter), global_step=step)


class GradsScalarHandler(BaseWeightsScalarHandler):
    """Log a number for the gradient of each of a model's weights: its norm, say.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseWeightsScalarHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the values now; weights without a gradient are left out."""
        require_logger(logger, TensorboardLogger, self, RuntimeError)
        step = engine.state.get_event_attrib_value(event_name)
        for name, gradient in self.gradients(self.titled("grads")):
            logger.writer.add_scalar(name, self.reduction(gradient), step)


class GradsHistHandler(BaseWeightsHandler):
    """Log a histogram of the gradient of each of a model's weights.

    Arguments as for :class:`~ignite.handlers.base_logger.BaseWeightsHandler`.
    """

    def __call__(self, engine: AnyEngine, logger: Any, event_name: Any) -> None:
        """Log the histograms now; weights without a gradient are left out."""
        require_logger(logger, TensorboardLogger, self, RuntimeError)
        step = engine.state.get_event_attrib_value(event_name)
        for name, gradient in self.gradients("grads"):
            logger.writer.add_histogram(tag=name, values=_as_array(gradient), global_step=step)


def _as_array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _writer_class() -> Callable[..., Any]:
    with suppress(ModuleNotFoundError):  # torch's own writer serves as well
        from tensorboardX import SummaryWriter  # type: ignore[import-not-found]  # no dependency

        return SummaryWriter  # type: ignore[no-any-return]  # as above
    try:
        from torch.utils.tensorboard import SummaryWriter as TorchWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "TensorboardLogger needs tensorboard or tensorboardX; pip install tensorboard", name=error.name
        ) from error
    return TorchWriter
