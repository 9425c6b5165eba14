"""The training step: one function for every precision, backend and accumulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from camshaft.supervised._accumulation import ONLY, AnyEngine, MicroBatch

if TYPE_CHECKING:
    import torch

    from camshaft.supervised._optimizer_step import OptimizerStep
    from camshaft.supervised._precision import Precision


def detached_loss(x: Any, y: Any, y_pred: Any, loss: torch.Tensor) -> torch.Tensor:
    """Return the loss without its graph, as a tensor, so that nothing waits for the device: the default output."""
    return loss.detach()


def make_training_step(
    model: torch.nn.Module,
    split: Callable[[Any], tuple[Any, Any]],
    predict: Callable[[Any], Any],
    precision: Precision,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    optimizer_step: OptimizerStep,
    output_transform: Callable[[Any, Any, Any, Any], Any],
) -> Callable[..., Any]:
    """Return the function that does one iteration of training.

    Everything that can be decided in advance is decided here, so the step itself only computes.

    Args:
        model: put into training mode.
        split: makes `(x, y)` from a batch.
        predict: makes `y_pred` from `x`.
        precision: what the forward pass and the loss are computed in.
        loss_fn: `loss_fn(y_pred, y)` returns a scalar tensor.
        optimizer_step: has the optimizer and the backend.
        output_transform: `f(x, y, y_pred, loss)` makes the output.

    Returns:
        `step(engine, batch, micro_batch=...)`; without a micro-batch, each iteration steps the optimizer.
    """
    optimizer, backward = optimizer_step.optimizer, optimizer_step.backend.backward
    use_gradients = optimizer_step if optimizer_step.clips else optimizer_step.backend.step

    @precision
    def forward(x: Any, y: Any) -> tuple[Any, torch.Tensor]:
        y_pred = predict(x)
        return y_pred, loss_fn(y_pred, y)

    graph: torch.Tensor | None = None

    def training_step(engine: AnyEngine, batch: Any, micro_batch: MicroBatch = ONLY) -> Any:
        nonlocal graph
        is_first, is_last, window_length = micro_batch
        if is_first:
            optimizer.zero_grad()
        # Only when needed: it visits every submodule, and would unfreeze those that were put into evaluation mode.
        if not model.training:
            model.train()
        x, y = split(batch)
        y_pred, loss = forward(x, y)
        backward(loss if window_length == 1 else loss / window_length)
        # Only now the graph of the iteration before is freed, as in a loop written by hand: its leaves are slow to
        # make, and this iteration has used them again. The tensors that a graph saves go with its backward pass.
        graph = loss
        if is_last:
            use_gradients()
        return output_transform(x, y, y_pred, loss)

    return training_step
