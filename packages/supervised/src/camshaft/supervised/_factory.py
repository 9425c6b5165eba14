"""The two factories: an engine that trains, an engine that evaluates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camshaft.engine import Engine
from camshaft.supervised._batch import Device, prepare_batch
from camshaft.supervised._build import Arithmetic, build_evaluation, build_training
from camshaft.supervised._errors import BackendMissingError
from camshaft.supervised._eval_step import predictions_and_targets
from camshaft.supervised._metrics import attach_metrics
from camshaft.supervised._prediction import Compile, Prediction, call_model, identity
from camshaft.supervised._train_step import detached_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch.amp.grad_scaler import GradScaler


def create_supervised_trainer(  # noqa: PLR0913, PLR0917  # the contract's arguments, in its order
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., tuple[Any, Any]] = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any, Any], Any] = detached_loss,
    deterministic: bool = False,
    amp_mode: str | None = None,
    scaler: bool | GradScaler = False,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    amp_dtype: torch.dtype | None = None,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
    compile: Compile = False,  # noqa: A002  # the name of what it stands for
) -> Engine[Any, Any]:
    """Make an engine that trains a model on pairs of input and target.

    Accumulation: an epoch is cut into windows of `gradient_accumulation_steps` iterations from its
    start. Each window counts as one large batch: its losses are divided by its length, and one
    optimizer step ends it. So is the last one of an epoch, however short. While a window is open
    no checkpoint is taken, and replicas (`DistributedDataParallel`) exchange no gradients. A run that
    ends inside a window (`terminate()`, `max_iters`) leaves it open for the run that continues it.

    Args:
        model: it stays on the device where it is, and so do its frozen layers in their mode.
        optimizer: updates the model's parameters.
        loss_fn: `loss_fn(y_pred, y)` returns a scalar tensor.
        device: where the batch goes; None leaves it. An XLA device selects `torch_xla`.
        non_blocking: copy batches from pinned memory without waiting.
        prepare_batch: `f(batch, device=..., non_blocking=...)` returns `(x, y)`.
        model_transform: makes `y_pred` from what the model returns.
        output_transform: `f(x, y, y_pred, loss)` makes the engine's output. The default is the loss
            as a detached scalar tensor, so no iteration waits for the device; `.item()` reads it.
            The loss is the undivided one also when gradients are accumulated.
        deterministic: make a `DeterministicEngine`: same data and random numbers for a seed, and
            exact resume. Needs the extra camshaft-supervised[deterministic].
        amp_mode: None for full precision, "amp" for `torch.amp`, "apex" for `apex.amp`.
        scaler: scale the loss for float16: True makes a scaler, or pass one. It is found in
            `engine.state.scaler`, and the engine's saved state has it under "scaler".
        gradient_accumulation_steps: iterations that share an optimizer step; at least 1.
        model_fn: `f(model, x)` runs the forward pass.
        amp_dtype: what "amp" computes in: float16 or bfloat16. None takes float16 with a scaler,
            else bfloat16, or float16 with a warning on GPUs that lack it.
        clip_grad_norm: largest norm of all gradients together, None for any.
        clip_grad_value: largest size of any one gradient, None for any.
        compile: run the model through `torch.compile`: True, or a mapping of options for it. `model`
            itself stays as it is, so what is saved of it loads with and without compiling.

    Returns:
        the engine; `run(data, max_epochs=...)` trains.

    Raises:
        ArgumentError: an argument breaks its rule, or does not go with the others or the device.
        BackendMissingError: apex, torch_xla or the deterministic engine is asked for and missing.

    Warns:
        EngineWarning: mixed precision falls back to float16 because the GPU lacks bfloat16.

    Examples:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = create_supervised_trainer(model, optimizer, torch.nn.functional.mse_loss)
        >>> x = torch.linspace(-1, 1, 8).reshape(8, 1)
        >>> state = trainer.run([(x, 2 * x + 1)], max_epochs=200)
        >>> round(state.output.item(), 4)
        0.0
    """
    arithmetic = Arithmetic.select(device, amp_mode, amp_dtype, scaler)
    engine_class = _deterministic_engine() if deterministic else Engine
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn, compile)
    training = build_training(
        arithmetic, prediction, optimizer, loss_fn, output_transform,
        gradient_accumulation_steps, clip_grad_norm, clip_grad_value,
    )  # fmt: skip
    trainer = engine_class(training.step)
    if training.accumulation is not None:
        training.accumulation.attach(trainer)
    if training.scaler is not None:
        trainer.state.scaler = training.scaler
        trainer.stateful["scaler"] = training.scaler
    return trainer


def create_supervised_evaluator(
    model: torch.nn.Module,
    metrics: Mapping[str, Any] | None = None,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., tuple[Any, Any]] = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any], Any] = predictions_and_targets,
    amp_mode: str | None = None,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    amp_dtype: torch.dtype | None = None,
    compile: Compile = False,  # noqa: A002  # the name of what it stands for
) -> Engine[Any, Any]:
    """Make an engine that evaluates a model on pairs of input and target.

    The model is in evaluation mode during a run, and no gradients are recorded. The mode of each of
    its submodules is noted at a run's first step and put back at the run's end, whichever way it
    ends.

    Args:
        model: it stays on the device where it is.
        metrics: names to metrics; the results are in `engine.state.metrics` after a run. See
            :func:`attach_metrics`, which also attaches metrics of something else than the output.
        device: where the batch and the metrics go; None leaves them.
        non_blocking: copy batches from pinned memory without waiting.
        prepare_batch: `f(batch, device=..., non_blocking=...)` returns `(x, y)`.
        model_transform: makes `y_pred` from what the model returns.
        output_transform: `f(x, y, y_pred)` makes the engine's output; the default is `(y_pred, y)`.
        amp_mode: None for full precision, "amp" for `torch.amp`, "apex" for a model of `apex.amp`.
        model_fn: `f(model, x)` runs the forward pass.
        amp_dtype: what "amp" computes in, None for bfloat16, or float16 on GPUs that lack it.
        compile: run the model through `torch.compile`: True, or a mapping of options for it.

    Returns:
        the engine; `run(data)` evaluates.

    Raises:
        ArgumentError: an argument breaks its rule, or does not go with the others or the device.
        BackendMissingError: apex or torch_xla is asked for and missing.

    Examples:
        >>> import torch
        >>> class Correct:
        ...     def reset(self): self.count = 0
        ...     def update(self, y_pred, y): self.count += int((y_pred.argmax(dim=1) == y).sum())
        ...     def compute(self): return self.count
        >>> evaluator = create_supervised_evaluator(torch.nn.Identity(), {"correct": Correct()})
        >>> evaluator.run([(torch.eye(3), torch.tensor([0, 1, 1]))]).metrics
        {'correct': 2}
    """
    arithmetic = Arithmetic.select(device, amp_mode, amp_dtype)
    prediction = Prediction(model, device, non_blocking, prepare_batch, model_transform, model_fn, compile)
    evaluation = build_evaluation(arithmetic, prediction, output_transform)
    evaluator = Engine(evaluation.step)
    evaluation.modes.attach(evaluator)
    attach_metrics(evaluator, metrics or {}, device=device)
    return evaluator


def _deterministic_engine() -> type[Engine[Any, Any]]:
    # The one place where this package looks for another one: only who asks for it needs it.
    try:
        from camshaft.deterministic import DeterministicEngine
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("camshaft"):
            raise
        raise BackendMissingError(
            "deterministic", "`deterministic=True` needs camshaft-engine-deterministic, which is not installed"
        ) from error
    return DeterministicEngine
