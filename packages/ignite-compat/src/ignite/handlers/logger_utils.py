"""Make a logger and attach it to a trainer and its evaluators, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from camshaft.engine import ArgumentTypeError
from ignite.engine import Engine, Events
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._optional import refuse
from ignite.handlers.base_logger import BaseLogger
from ignite.handlers.mlflow_logger import MLflowLogger
from ignite.handlers.tensorboard_logger import TensorboardLogger
from ignite.handlers.utils import global_step_from_engine
from ignite.handlers.wandb_logger import WandBLogger

__all__ = [
    "setup_clearml_logging",
    "setup_mlflow_logging",
    "setup_neptune_logging",
    "setup_plx_logging",
    "setup_tb_logging",
    "setup_trains_logging",
    "setup_visdom_logging",
    "setup_wandb_logging",
]

Logger = TypeVar("Logger", bound=BaseLogger)
Optimizers = Any
Evaluators = AnyEngine | Mapping[str, AnyEngine] | None
Names = str | list[str]


def setup_tb_logging(
    output_path: str,
    trainer: AnyEngine,
    optimizers: Optimizers = None,
    evaluators: Evaluators = None,
    log_every_iters: int = 100,
    *,
    trainer_metric_names: Names = "all",
    evaluator_metric_names: Names = "all",
    **kwargs: Any,
) -> TensorboardLogger:
    """Log a training for TensorBoard: the trainer's metrics, learning rates, the evaluators' metrics.

    Args:
        output_path: the folder.
        trainer: the trainer.
        optimizers: an optimizer, or several by name.
        evaluators: an evaluator, or several by name.
        log_every_iters: iterations from one entry to the next.
        trainer_metric_names: keys of the trainer's metrics, or "all".
        evaluator_metric_names: keys of the evaluators' metrics, or "all".
        kwargs: of the logger.

    Returns:
        The logger, to be closed at the end.

    Raises:
        TypeError: optimizers or evaluators are neither one nor a mapping.
    """
    logger = TensorboardLogger(log_dir=output_path, **kwargs)
    return attached(
        logger, trainer, optimizers, evaluators, log_every_iters, trainer_metric_names, evaluator_metric_names
    )


def setup_mlflow_logging(
    trainer: AnyEngine,
    optimizers: Optimizers = None,
    evaluators: Evaluators = None,
    log_every_iters: int = 100,
    *,
    trainer_metric_names: Names = "all",
    evaluator_metric_names: Names = "all",
    **kwargs: Any,
) -> MLflowLogger:
    """Log a training in MLflow; arguments as for :func:`setup_tb_logging`."""
    logger = MLflowLogger(**kwargs)
    return attached(
        logger, trainer, optimizers, evaluators, log_every_iters, trainer_metric_names, evaluator_metric_names
    )


def setup_wandb_logging(
    trainer: AnyEngine,
    optimizers: Optimizers = None,
    evaluators: Evaluators = None,
    log_every_iters: int = 100,
    *,
    trainer_metric_names: Names = "all",
    evaluator_metric_names: Names = "all",
    **kwargs: Any,
) -> WandBLogger:
    """Log a training in Weights & Biases; arguments as for :func:`setup_tb_logging`."""
    logger = WandBLogger(**kwargs)
    return attached(
        logger, trainer, optimizers, evaluators, log_every_iters, trainer_metric_names, evaluator_metric_names
    )


def setup_visdom_logging(*_: Any, **__: Any) -> BaseLogger:
    """Refuse: visdom is not maintained any more.

    Raises:
        ImportError: always; the text says what to use instead.
    """
    refuse("setup_visdom_logging", "visdom is not maintained any more")


def setup_neptune_logging(*_: Any, **__: Any) -> BaseLogger:
    """Refuse: the Neptune client is not supported.

    Raises:
        ImportError: always; the text says what to use instead.
    """
    refuse("setup_neptune_logging", "the Neptune client is not supported")


def setup_plx_logging(*_: Any, **__: Any) -> BaseLogger:
    """Refuse: the Polyaxon client is not supported.

    Raises:
        ImportError: always; the text says what to use instead.
    """
    refuse("setup_plx_logging", "the Polyaxon client is not supported")


def setup_clearml_logging(*_: Any, **__: Any) -> BaseLogger:
    """Refuse: the ClearML client is not supported.

    Raises:
        ImportError: always; the text says what to use instead.
    """
    refuse("setup_clearml_logging", "the ClearML client is not supported")


setup_trains_logging = setup_clearml_logging


def attached(
    logger: Logger,
    trainer: AnyEngine,
    optimizers: Optimizers,
    evaluators: Evaluators,
    log_every_iters: int | None,
    trainer_metric_names: Names = "all",
    evaluator_metric_names: Names = "all",
) -> Logger:
    """Return a logger, attached to a trainer, its optimizers and its evaluators.

    Args:
        logger: the logger.
        trainer: the trainer.
        optimizers: an optimizer, or several by name.
        evaluators: an evaluator, or several by name.
        log_every_iters: iterations from one entry to the next; None for 1.
        trainer_metric_names: keys of the trainer's metrics, or "all".
        evaluator_metric_names: keys of the evaluators' metrics, or "all".

    Returns:
        The logger.

    Raises:
        TypeError: optimizers or evaluators are neither one nor a mapping.
    """
    named_optimizers = _named(optimizers, "optimizers", lambda each: hasattr(each, "param_groups"), None)
    named_evaluators = _named(evaluators, "evaluators", lambda each: isinstance(each, Engine), "validation")
    every = log_every_iters or 1
    logger.attach_output_handler(
        trainer, event_name=Events.ITERATION_COMPLETED(every=every), tag="training", metric_names=trainer_metric_names
    )
    for name, optimizer in named_optimizers.items():
        logger.attach_opt_params_handler(
            trainer, Events.ITERATION_STARTED(every=every), optimizer, param_name="lr", tag=name
        )
    for name, evaluator in named_evaluators.items():
        logger.attach_output_handler(
            evaluator,
            event_name=Events.COMPLETED,
            tag=name,
            metric_names=evaluator_metric_names,
            global_step_transform=global_step_from_engine(trainer),
        )
    return logger


def _named(given: Any, argument: str, is_one: Callable[[Any], bool], name: str | None) -> dict[Any, Any]:
    """Return one thing or several as a mapping of names."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if not is_one(given):
        raise ArgumentTypeError(f"`{argument}` must be one or a mapping of names to them, got {type(given)}")
    return {name: given}
