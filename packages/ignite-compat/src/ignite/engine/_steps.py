"""Trainers and evaluators with Ignite's defaults, over :mod:`camshaft.supervised`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from camshaft import supervised
from camshaft.engine import Engine
from ignite.utils import convert_tensor

Factory = TypeVar("Factory", bound=Callable[..., Any])


def _prepare_batch(
    batch: Any, device: str | torch.device | None = None, non_blocking: bool = False
) -> tuple[torch.Tensor | Any, torch.Tensor | Any]:
    """Split a batch into input and target and move their tensors to a device.

    Args:
        batch: anything that can be unpacked into two, `x, y = batch`.
        device: where the tensors go; None leaves them.
        non_blocking: copy from pinned memory without waiting, where the device can.
    """
    x, y = batch
    return (
        convert_tensor(x, device=device, non_blocking=non_blocking),
        convert_tensor(y, device=device, non_blocking=non_blocking),
    )


def _loss_as_number(x: Any, y: Any, y_pred: Any, loss: torch.Tensor) -> float:
    return loss.item()


def _with_defaults(factory: Factory, **defaults: Any) -> Factory:
    """Return `factory` with other defaults, which its signature shows too."""
    signature = inspect.signature(factory)
    parameters = [
        parameter.replace(default=defaults.get(name, parameter.default))
        for name, parameter in signature.parameters.items()
    ]

    @wraps(factory)
    def with_defaults(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        return factory(*bound.args, **{**_not_given(defaults, bound), **bound.kwargs})

    with_defaults.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's
    return cast("Factory", with_defaults)


def _not_given(defaults: Mapping[str, Any], bound: inspect.BoundArguments) -> dict[str, Any]:
    return {name: value for name, value in defaults.items() if name not in bound.arguments}


_TRAINING = {"prepare_batch": _prepare_batch, "output_transform": _loss_as_number}
_EVALUATION = {"prepare_batch": _prepare_batch}

create_supervised_trainer = _with_defaults(supervised.create_supervised_trainer, **_TRAINING)
supervised_training_step = _with_defaults(supervised.supervised_training_step, **_TRAINING)
supervised_training_step_amp = _with_defaults(supervised.supervised_training_step_amp, **_TRAINING)
supervised_training_step_apex = _with_defaults(supervised.supervised_training_step_apex, **_TRAINING)
supervised_training_step_tpu = _with_defaults(supervised.supervised_training_step_tpu, **_TRAINING)
supervised_evaluation_step = _with_defaults(supervised.supervised_evaluation_step, **_EVALUATION)
supervised_evaluation_step_amp = _with_defaults(supervised.supervised_evaluation_step_amp, **_EVALUATION)
_create_evaluator = _with_defaults(supervised.create_supervised_evaluator, **_EVALUATION)


@wraps(_create_evaluator)
def create_supervised_evaluator(
    model: torch.nn.Module, metrics: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any
) -> Engine[Any, Any]:
    """Make an engine that evaluates; see :func:`camshaft.supervised.create_supervised_evaluator`.

    Metrics that have an `attach` of their own, as those of `ignite.metrics` do, attach themselves;
    the others, as those of torchmetrics, are attached by :func:`camshaft.supervised.attach_metrics`.
    """
    metrics = metrics or {}
    attach_themselves = {name: metric for name, metric in metrics.items() if hasattr(metric, "attach")}
    others = {name: metric for name, metric in metrics.items() if name not in attach_themselves}
    evaluator = _create_evaluator(model, others, *args, **kwargs)
    for name, metric in attach_themselves.items():
        metric.attach(evaluator, name)
    return evaluator
