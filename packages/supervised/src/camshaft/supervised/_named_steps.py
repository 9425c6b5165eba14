"""The steps under their own names, for engines that are put together by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from camshaft.supervised._accumulation import Step
from camshaft.supervised._backends import (
    apex_backend,
    as_device,
    compute_device,
    make_backend,
    plain_backend,
    select_backend,
    xla_backend,
)
from camshaft.supervised._batch import Device, prepare_batch
from camshaft.supervised._eval_step import prediction_and_target
from camshaft.supervised._factory import build_evaluation_step, build_training_step, select_precision
from camshaft.supervised._forward import call_model, identity, make_predict, make_split
from camshaft.supervised._optimizer_step import OptimizerStep
from camshaft.supervised._precision import full_precision, make_scaler
from camshaft.supervised._train_step import detached_loss

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

    One call zeroes the gradients, puts the model into training mode, moves the batch to the device, and does the
    forward pass, the loss, the backward pass and the optimizer step, in this order.

    The arguments are those of `create_supervised_trainer`.

    Returns:
        `step(engine, batch)`, the process function of an engine.

    Raises:
        ArgumentError: an argument is out of its range.

    Examples:
        >>> from camshaft.engine import Engine
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(supervised_training_step(model, optimizer, torch.nn.functional.mse_loss))
        >>> trainer.run([(torch.ones(4, 1), torch.ones(4, 1))]).output.shape
        torch.Size([])
    """
    as_device(device)  # refused now if there is no such device
    return build_training_step(
        model, loss_fn, full_precision,
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform),
        optimizer_step=OptimizerStep(optimizer, plain_backend(optimizer), clip_grad_norm, clip_grad_value),
        accumulation_steps=gradient_accumulation_steps,
        output_transform=output_transform,
    )[0]  # fmt: skip


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

    The arguments are those of `create_supervised_trainer`.

    Args:
        scaler: scales the loss for float16; the caller saves it. None computes in bfloat16.

    Returns:
        `step(engine, batch)`, the process function of an engine.

    Raises:
        ArgumentError: an argument is out of its range, or the device cannot compute in the dtype.
    """
    backend = select_backend(device, "amp", scaler, amp_dtype)
    scaler = make_scaler(scaler, compute_device(device, model))
    precision = select_precision(model, device, amp=True, dtype=amp_dtype, scaler=scaler)
    scaled_backend = make_backend(backend, optimizer, scaler)
    return build_training_step(
        model, loss_fn, precision,
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform),
        optimizer_step=OptimizerStep(optimizer, scaled_backend, clip_grad_norm, clip_grad_value),
        accumulation_steps=gradient_accumulation_steps,
        output_transform=output_transform,
    )[0]  # fmt: skip


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
    """Make a step that trains with `apex.amp`.

    Pass model and optimizer through `apex.amp.initialize` before.

    The arguments are those of `create_supervised_trainer`.

    Returns:
        `step(engine, batch)`, the process function of an engine.

    Raises:
        BackendMissingError: no apex with `apex.amp` is installed; the text says what was found.
        ArgumentError: an argument is out of its range.
    """
    select_backend(device, "apex")  # refused now if there is no usable apex
    return build_training_step(
        model, loss_fn, full_precision,
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform),
        optimizer_step=OptimizerStep(optimizer, apex_backend(optimizer), clip_grad_norm, clip_grad_value),
        accumulation_steps=gradient_accumulation_steps,
        output_transform=output_transform,
    )[0]  # fmt: skip


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

    The arguments are those of `create_supervised_trainer`.

    Args:
        device: where the batch goes; None means "xla".

    Returns:
        `step(engine, batch)`, the process function of an engine.

    Raises:
        BackendMissingError: torch_xla cannot be imported.
        ArgumentError: an argument is out of its range.
    """
    device = "xla" if device is None else device
    select_backend("xla", None)  # refused now if there is no torch_xla
    return build_training_step(
        model, loss_fn, full_precision,
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform),
        optimizer_step=OptimizerStep(optimizer, xla_backend(optimizer), clip_grad_norm, clip_grad_value),
        accumulation_steps=gradient_accumulation_steps,
        output_transform=output_transform,
    )[0]  # fmt: skip


supervised_training_step_tpu = supervised_training_step_xla


def supervised_evaluation_step(
    model: torch.nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any], Any] = prediction_and_target,
    model_fn: Callable[[Any, Any], Any] = call_model,
) -> Step:
    """Make a step that evaluates in full precision: evaluation mode, no gradients.

    The first step of a run records the mode of every submodule, and the end of the run restores it.

    The arguments are those of `create_supervised_evaluator`.

    Returns:
        `step(engine, batch)`, the process function of an engine.

    Examples:
        >>> from camshaft.engine import Engine
        >>> model = torch.nn.Dropout()
        >>> evaluator = Engine(supervised_evaluation_step(model))
        >>> evaluator.run([(torch.ones(2), torch.ones(2))]).output[0], model.training
        (tensor([1., 1.]), True)
    """
    return build_evaluation_step(
        model, full_precision,
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform),
        backend=select_backend(device, None),
        output_transform=output_transform,
    )[0]  # fmt: skip


def supervised_evaluation_step_amp(
    model: torch.nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: PrepareBatch = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any], Any] = prediction_and_target,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    amp_dtype: torch.dtype | None = None,
) -> Step:
    """Make a step that evaluates in mixed precision with `torch.amp`.

    The arguments are those of `create_supervised_evaluator`.

    Returns:
        `step(engine, batch)`, the process function of an engine.

    Raises:
        ArgumentError: the device cannot compute in the dtype.
    """
    backend = select_backend(device, "amp", dtype=amp_dtype)
    return build_evaluation_step(
        model, select_precision(model, device, amp=True, dtype=amp_dtype),
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform),
        backend=backend,
        output_transform=output_transform,
    )[0]  # fmt: skip
