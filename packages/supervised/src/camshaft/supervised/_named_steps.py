"""The steps by the names of what they run on, for engines that are put together by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from camshaft.supervised._backends import select_backend
from camshaft.supervised._batch import Device, prepare_batch
from camshaft.supervised._build import Arithmetic, build_evaluation, build_training
from camshaft.supervised._eval_step import predictions_and_targets
from camshaft.supervised._prediction import Prediction, call_model, identity
from camshaft.supervised._train_step import Step, detached_loss

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler

PrepareBatch = Callable[..., tuple[Any, Any]]
Loss = Callable[[Any, Any], torch.Tensor]


def supervised_training_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Loss,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any, Any], Any] = detached_loss,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
) -> Step:
    """Make a step that trains in full precision.

    One call does, in this order: gradients to zero, training mode, batch to the device, forward
    pass, loss, backward pass, optimizer step, output.

    The arguments are those of :func:`create_supervised_trainer`.

    Returns:
        `step(engine, batch)`, the process function of one engine.

    Raises:
        ArgumentError: an argument breaks its rule.

    Examples:
        >>> from camshaft.engine import Engine
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(supervised_training_step(model, optimizer, torch.nn.functional.mse_loss))
        >>> trainer.run([(torch.ones(4, 1), torch.ones(4, 1))]).output.shape
        torch.Size([])
    """
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return build_training(
        Arithmetic("plain"), prediction, optimizer, loss_fn, output_transform,
        gradient_accumulation_steps, clip_grad_norm, clip_grad_value,
    ).step  # fmt: skip


def supervised_training_step_amp(  # noqa: PLR0913  # the contract's arguments
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Loss,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any, Any], Any] = detached_loss,
    scaler: GradScaler | None = None,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    amp_dtype: torch.dtype | None = None,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
) -> Step:
    """Make a step that trains in mixed precision with `torch.amp`.

    The arguments are those of :func:`create_supervised_trainer`. A scaler belongs to the caller, who
    saves it; without one the step computes in bfloat16.

    Returns:
        `step(engine, batch)`, the process function of one engine.

    Raises:
        ArgumentError: an argument breaks its rule, or the device cannot compute in the dtype.
    """
    arithmetic = Arithmetic(select_backend(device, "amp", scaler), True, amp_dtype, False if scaler is None else scaler)
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return build_training(
        arithmetic, prediction, optimizer, loss_fn, output_transform,
        gradient_accumulation_steps, clip_grad_norm, clip_grad_value,
    ).step  # fmt: skip


def supervised_training_step_apex(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Loss,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any, Any], Any] = detached_loss,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
) -> Step:
    """Make a step that trains with `apex.amp`; model and optimizer went through its `initialize` before.

    The arguments are those of :func:`create_supervised_trainer`.

    Returns:
        `step(engine, batch)`, the process function of one engine.

    Raises:
        BackendMissingError: no apex that has `apex.amp` is installed; the text says what is there.
        ArgumentError: an argument breaks its rule.
    """
    arithmetic = Arithmetic(select_backend(device, "apex"))
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return build_training(
        arithmetic, prediction, optimizer, loss_fn, output_transform,
        gradient_accumulation_steps, clip_grad_norm, clip_grad_value,
    ).step  # fmt: skip


def supervised_training_step_xla(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Loss,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any, Any], Any] = detached_loss,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
) -> Step:
    """Make a step that trains on an XLA device through `torch_xla`.

    The arguments are those of :func:`create_supervised_trainer`; without a `device` the batch goes to "xla".

    Returns:
        `step(engine, batch)`, the process function of one engine.

    Raises:
        BackendMissingError: torch_xla cannot be imported.
        ArgumentError: an argument breaks its rule.
    """
    device = "xla" if device is None else device
    select_backend("xla", None)
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return build_training(
        Arithmetic("xla"), prediction, optimizer, loss_fn, output_transform,
        gradient_accumulation_steps, clip_grad_norm, clip_grad_value,
    ).step  # fmt: skip


supervised_training_step_tpu = supervised_training_step_xla


def supervised_evaluation_step(
    model: torch.nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any], Any] = predictions_and_targets,
    model_fn: Callable[[Any, Any], Any] = call_model,
) -> Step:
    """Make a step that evaluates in full precision: evaluation mode, no gradients.

    The mode of every submodule is recorded at a run's first step and put back at the run's end.

    The arguments are those of :func:`create_supervised_evaluator`.

    Returns:
        `step(engine, batch)`, the process function of one engine.

    Examples:
        >>> from camshaft.engine import Engine
        >>> model = torch.nn.Dropout()
        >>> evaluator = Engine(supervised_evaluation_step(model))
        >>> evaluator.run([(torch.ones(2), torch.ones(2))]).output[0], model.training
        (tensor([1., 1.]), True)
    """
    arithmetic = Arithmetic(select_backend(device, None))
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return build_evaluation(arithmetic, prediction, output_transform).step


def supervised_evaluation_step_amp(
    model: torch.nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any], Any] = predictions_and_targets,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    amp_dtype: torch.dtype | None = None,
) -> Step:
    """Make a step that evaluates in mixed precision with `torch.amp`.

    The arguments are those of :func:`create_supervised_evaluator`.

    Returns:
        `step(engine, batch)`, the process function of one engine.

    Raises:
        ArgumentError: the device cannot compute in the dtype.
    """
    arithmetic = Arithmetic.select(device, "amp", amp_dtype)
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn)
    return build_evaluation(arithmetic, prediction, output_transform).step
