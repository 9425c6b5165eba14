"""The two factories, and how their steps are put together: every part is chosen here, in plain sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from camshaft.engine import Engine
from camshaft.supervised._accelerate import accelerate
from camshaft.supervised._accumulation import GradientAccumulation, Step, make_accumulation
from camshaft.supervised._backends import (
    BackendName,
    compute_device,
    make_backend,
    require_flag,
    select_backend,
    xla_sync,
)
from camshaft.supervised._batch import Device, prepare_batch
from camshaft.supervised._cuda_graph import CudaRecorder, require_graphable
from camshaft.supervised._errors import BackendMissingError
from camshaft.supervised._eval_step import EvalMode, make_evaluation_step, prediction_and_target
from camshaft.supervised._forward import Compile, call_model, identity, make_predict, make_split
from camshaft.supervised._gradient_exchange import require_known_norm
from camshaft.supervised._graphed_update import GraphedUpdate, Graphing
from camshaft.supervised._learning_rate import LearningRates, with_tensor_rates
from camshaft.supervised._metrics import attach_metrics
from camshaft.supervised._optimizer_step import OptimizerStep
from camshaft.supervised._precision import Precision, autocast, full_precision, is_scaling, make_scaler
from camshaft.supervised._prefetch import Prefetch, make_prefetch
from camshaft.supervised._train_step import Update, ZeroesGradients, detached_loss, make_training_step, make_update

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from accelerate import Accelerator
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
    cuda_graph: bool = False,
    prefetch: bool = False,
    accelerator: Accelerator | None = None,
) -> Engine[Any, Any]:
    """Make an engine that trains a model on pairs of input and target.

    With gradient accumulation, an epoch is divided into windows of `gradient_accumulation_steps` iterations. A window
    counts as one large batch: its losses are divided by its length, and one optimizer step ends it. The last window
    of an epoch is stepped too, however short it is. While a window is open, checkpoints wait, and replicas
    (`DistributedDataParallel`) and shards (`fully_shard`) exchange no gradients. A run that ends inside a window
    (`terminate()`, `max_iters`) leaves it open for the run that continues it.

    Args:
        model: stays on its device. It is put into training mode; layers that are frozen in evaluation mode stay so.
        optimizer: updates the parameters of the model.
        loss_fn: `loss_fn(y_pred, y)` returns the loss, a scalar tensor of shape `()`.
        device: where the batch goes; None leaves it where it is. An XLA device selects `torch_xla`.
        non_blocking: copy batches from pinned memory without waiting.
        prepare_batch: `f(batch, device=..., non_blocking=...)` returns `(x, y)`.
        model_transform: `f(output)` makes `y_pred` from what the model returns.
        output_transform: `f(x, y, y_pred, loss)` makes the output of the engine. The default output is the loss as a
            detached tensor of shape `()`, so no iteration waits for the device; read it with `.item()`. With gradient
            accumulation it is the loss before the division.
        deterministic: make a `DeterministicEngine`, whose runs are reproducible and resume exactly. Needs the extra
            camshaft-supervised[deterministic].
        amp_mode: None for full precision, "amp" for `torch.amp`, "apex" for `apex.amp`.
        scaler: scale the loss so that float16 gradients do not vanish. True makes a scaler; or pass one. It is in
            `engine.state.scaler`, and in the engine's `state_dict`.
        gradient_accumulation_steps: iterations that share an optimizer step; at least 1.
        model_fn: `f(model, x)` runs the forward pass.
        amp_dtype: what "amp" computes in: float16 or bfloat16. None means float16 with a scaler and bfloat16
            without; on GPUs that lack bfloat16, float16 with a warning.
        clip_grad_norm: largest norm of all gradients together, also where processes have shards of them; above 0. None
            clips nothing.
        clip_grad_value: largest absolute value of any gradient element; above 0. None clips nothing.
        compile: run the model through `torch.compile`: True, or a mapping of options for it. `model` itself does not
            change, so its `state_dict` loads with and without compiling.
        cuda_graph: launch the forward pass, the backward pass and the optimizer step all at once, as a CUDA graph. It
            is captured once for each shape of batch. Needs a CUDA device, an optimizer made with `capturable=True`
            (`SGD`: `fused=True`), and a model and a loss function that decide nothing in Python. `y_pred` then comes
            to `output_transform` without an autograd graph.
        prefetch: fetch each batch and copy it to the device while the step before still runs there. Needs a CUDA
            device. `prepare_batch` then gets batches whose tensors are on the device already.
        accelerator: trains through an `accelerate.Accelerator`, which has prepared the model and the optimizer. It
            decides the device, the precision, the scaler and `gradient_accumulation_steps`, which are left out here.
            Needs the extra camshaft-supervised[accelerate].

    Returns:
        The engine; `run(data, max_epochs=...)` trains.

    Raises:
        ArgumentError: an argument is out of its range, or does not go with another one or with the device.
        ArgumentTypeError: an argument is of the wrong type.
        BackendMissingError: apex, torch_xla, accelerate or the deterministic engine is asked for and not installed.

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
    accelerated = accelerate(
        accelerator, model, optimizer, device=device, amp_mode=amp_mode, scaler=scaler, amp_dtype=amp_dtype,
        gradient_accumulation_steps=gradient_accumulation_steps, cuda_graph=cuda_graph, prefetch=prefetch,
    )  # fmt: skip
    if accelerated is not None:
        optimizer, device, gradient_accumulation_steps = accelerated[:3]
    backend_name = select_backend(device, amp_mode, scaler, amp_dtype)
    prefetcher = make_prefetch(prefetch, device)
    engine_class = _deterministic_engine() if require_flag("deterministic", deterministic) else Engine
    place = compute_device(device, model)
    grad_scaler = make_scaler(scaler, place) if accelerated is None else accelerated.scaler
    precision = select_precision(model, device, amp=amp_mode == "amp", dtype=amp_dtype, scaler=grad_scaler)
    backend = make_backend(backend_name, optimizer, grad_scaler) if accelerated is None else accelerated.backend
    graphing = None
    if require_flag("cuda_graph", cuda_graph):
        place = require_graphable(model, optimizer, place, backend_name, grad_scaler, compile)
        graphing = Graphing(CudaRecorder(place), LearningRates(optimizer, place), place, grad_scaler)
        backend = with_tensor_rates(backend, graphing.rates, graphing.recorder)
    step, accumulation = build_training_step(
        model, loss_fn, precision,
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform, compile),
        optimizer_step=OptimizerStep(optimizer, backend, clip_grad_norm, clip_grad_value),
        accumulation_steps=gradient_accumulation_steps,
        output_transform=output_transform,
        graphing=graphing,
        prefetcher=prefetcher,
    )  # fmt: skip
    trainer = engine_class(step) if prefetcher is None else prefetcher.engine(engine_class, step)
    if accumulation is not None:
        accumulation.attach(trainer)
    if grad_scaler is not None:
        trainer.state.scaler = grad_scaler
        trainer.stateful["scaler"] = grad_scaler
    return trainer


def build_training_step(
    model: torch.nn.Module,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    precision: Precision,
    *,
    split: Callable[[Any], tuple[Any, Any]],
    predict: Callable[[Any], Any],
    optimizer_step: OptimizerStep,
    accumulation_steps: int,
    output_transform: Callable[[Any, Any, Any, Any], Any],
    graphing: Graphing | None = None,
    prefetcher: Prefetch | None = None,
) -> tuple[Step, GradientAccumulation | None]:
    """Put the training step together, from the parts that `make_training_step` describes.

    Args:
        model, loss_fn, precision, split, predict, optimizer_step, output_transform: the parts.
        accumulation_steps: iterations that share an optimizer step; at least 1.
        graphing: makes a CUDA graph of what is computed; None launches each kernel by itself.
        prefetcher: fetches the next batch before the output is made; None where that is not asked for.

    Returns:
        The step, and the accumulation to attach to its engine; None when each iteration steps the optimizer.
    """
    require_known_norm(model, optimizer_step.clip_norm)
    accumulation = make_accumulation(accumulation_steps, model, optimizer_step)
    returns_prediction = output_transform is not detached_loss
    update: Update = make_update(predict, precision, loss_fn, optimizer_step, returns_prediction=returns_prediction)
    optimizer: ZeroesGradients = optimizer_step.optimizer
    if graphing is not None:
        modules = [module for module in (model, loss_fn) if isinstance(module, torch.nn.Module)]
        update = optimizer = GraphedUpdate(update, modules, optimizer_step.optimizer, graphing)
    make_output = output_transform if prefetcher is None else prefetcher.before(output_transform)
    step = make_training_step(model, optimizer, split, update, make_output)
    return (step if accumulation is None else accumulation.wrap(step)), accumulation


def select_precision(
    model: torch.nn.Module,
    device: Device,
    *,
    amp: bool,
    dtype: torch.dtype | None = None,
    scaler: GradScaler | None = None,
) -> Precision:
    """Return what the forward pass computes in, on the device that computes.

    Args:
        model: decides the device when none is named.
        device: where the batch goes; None names no device.
        amp: whether to use `torch.amp`.
        dtype: as `autocast` takes it.
        scaler: scales the gradients; None scales nothing.
    """
    return autocast(compute_device(device, model), dtype, scaled=is_scaling(scaler)) if amp else full_precision


def create_supervised_evaluator(
    model: torch.nn.Module,
    metrics: Mapping[str, Any] | None = None,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., tuple[Any, Any]] = prepare_batch,
    model_transform: Callable[[Any], Any] = identity,
    output_transform: Callable[[Any, Any, Any], Any] = prediction_and_target,
    amp_mode: str | None = None,
    model_fn: Callable[[Any, Any], Any] = call_model,
    *,
    amp_dtype: torch.dtype | None = None,
    compile: Compile = False,  # noqa: A002  # the name of what it stands for
) -> Engine[Any, Any]:
    """Make an engine that evaluates a model on pairs of input and target.

    During a run the model is in evaluation mode and no gradients are recorded. The first step of a run records the
    mode of each submodule, and the end of the run restores it, whichever way the run ends.

    Args:
        model: stays on its device.
        metrics: names to metrics; after a run the results are in `engine.state.metrics`. `attach_metrics` says
            what is a metric, and attaches metrics of something else than the output.
        device: where the batch and the metrics go; None leaves them where they are.
        non_blocking: copy batches from pinned memory without waiting.
        prepare_batch: `f(batch, device=..., non_blocking=...)` returns `(x, y)`.
        model_transform: `f(output)` makes `y_pred` from what the model returns.
        output_transform: `f(x, y, y_pred)` makes the output of the engine; the default output is `(y_pred, y)`.
        amp_mode: None for full precision, "amp" for `torch.amp`, "apex" for a model of `apex.amp`.
        model_fn: `f(model, x)` runs the forward pass.
        amp_dtype: what "amp" computes in: float16 or bfloat16. None means bfloat16; on GPUs that lack it, float16
            with a warning.
        compile: run the model through `torch.compile`: True, or a mapping of options for it.

    Returns:
        The engine; `run(data)` evaluates.

    Raises:
        ArgumentError: an argument is out of its range, or does not go with another one or with the device.
        ArgumentTypeError: `metrics` is not a mapping, or holds something that is not a metric.
        BackendMissingError: apex or torch_xla is asked for and not installed.

    Warns:
        EngineWarning: mixed precision falls back to float16 because the GPU lacks bfloat16.

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
    backend = select_backend(device, amp_mode, dtype=amp_dtype)
    step, eval_mode = build_evaluation_step(
        model, select_precision(model, device, amp=amp_mode == "amp", dtype=amp_dtype),
        split=make_split(prepare_batch, device, non_blocking),
        predict=make_predict(model, model_fn, model_transform, compile),
        backend=backend,
        output_transform=output_transform,
    )  # fmt: skip
    evaluator = Engine(step)
    eval_mode.attach(evaluator)
    attach_metrics(evaluator, metrics or {}, device=device)
    return evaluator


def build_evaluation_step(
    model: torch.nn.Module,
    precision: Precision,
    *,
    split: Callable[[Any], tuple[Any, Any]],
    predict: Callable[[Any], Any],
    backend: BackendName,
    output_transform: Callable[[Any, Any, Any], Any],
) -> tuple[Step, EvalMode]:
    """Put the evaluation step together, from the parts that `make_evaluation_step` describes.

    Args:
        model, precision, split, predict, output_transform: the parts.
        backend: what `select_backend` returned.

    Returns:
        The step, and what restores the modes of the model, to attach to its engine.
    """
    eval_mode = EvalMode(model)
    synchronize = xla_sync() if backend == "xla" else None
    step = make_evaluation_step(model, split, predict, precision, output_transform, eval_mode, synchronize)
    return step, eval_mode


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
