"""The training step: one function for every precision, backend and accumulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from camshaft.supervised._accumulation import ONLY, AnyEngine, MicroBatch

if TYPE_CHECKING:
    import torch

    from camshaft.supervised._optimizer_step import OptimizerStep
    from camshaft.supervised._precision import Precision

# From input, target and place in the window to the prediction and the loss; updates the parameters on its way.
Update = Callable[[Any, Any, MicroBatch], tuple[Any, "torch.Tensor"]]


class ZeroesGradients(Protocol):
    """An optimizer, or what stands in for one."""

    def zero_grad(self) -> None:
        """Forget the gradients of the window before."""


def detached_loss(x: Any, y: Any, y_pred: Any, loss: torch.Tensor) -> torch.Tensor:
    """Return the loss without its graph, as a tensor, so that nothing waits for the device: the default output."""
    return loss.detach()


def make_update(
    predict: Callable[[Any], Any],
    precision: Precision,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    optimizer_step: OptimizerStep,
    *,
    returns_prediction: bool = True,
) -> Update:
    """Return the function that computes: forward pass, loss, backward pass, optimizer step.

    Everything that can be decided in advance is decided here, so it does nothing that was not asked for.

    Args:
        predict: makes `y_pred` from `x`.
        precision: what the forward pass and the loss are computed in.
        loss_fn: `loss_fn(y_pred, y)` returns a scalar tensor.
        optimizer_step: has the optimizer and the backend.
        returns_prediction: whether somebody looks at the prediction. Otherwise it is given up as soon as the loss is
            there, as in a loop written by hand: the backward pass and the optimizer have its memory.

    Returns:
        `update(x, y, micro_batch)`, which returns `(y_pred, loss)`; `y_pred` is None if nobody looks at it.
    """
    backward = optimizer_step.backend.backward
    use_gradients = optimizer_step if optimizer_step.clips else optimizer_step.backend.step

    @precision
    def forward(x: Any, y: Any) -> tuple[Any, torch.Tensor]:
        y_pred = predict(x)
        return y_pred if returns_prediction else None, loss_fn(y_pred, y)

    graph: torch.Tensor | None = None

    def update(x: Any, y: Any, micro_batch: MicroBatch) -> tuple[Any, torch.Tensor]:
        nonlocal graph
        y_pred, loss = forward(x, y)
        backward(loss if micro_batch.window_length == 1 else loss / micro_batch.window_length)
        # Only now the graph of the iteration before is freed, as in a loop written by hand: its leaves are slow to
        # make, and this iteration has used them again. The tensors that a graph saves go with its backward pass.
        graph = loss
        if micro_batch.is_last:
            use_gradients()
        return y_pred, loss

    return update


def make_training_step(
    model: torch.nn.Module,
    optimizer: ZeroesGradients,
    split: Callable[[Any], tuple[Any, Any]],
    update: Update,
    output_transform: Callable[[Any, Any, Any, Any], Any],
) -> Callable[..., Any]:
    """Return the function that does one iteration of training.

    Args:
        model: put into training mode.
        optimizer: zeroes the gradients before a window; a graphed update does that itself.
        split: makes `(x, y)` from a batch.
        update: what `make_update` returned, or something that does the same in another way.
        output_transform: `f(x, y, y_pred, loss)` makes the output.

    Returns:
        `step(engine, batch, micro_batch=...)`; without a micro-batch, each iteration steps the optimizer.
    """

    def training_step(engine: AnyEngine, batch: Any, micro_batch: MicroBatch = ONLY) -> Any:
        if micro_batch.is_first:
            optimizer.zero_grad()
        # Only when needed: it visits every submodule, and would unfreeze those that were put into evaluation mode.
        if not model.training:
            model.train()
        x, y = split(batch)
        y_pred, loss = update(x, y, micro_batch)
        return output_transform(x, y, y_pred, loss)

    return training_step
